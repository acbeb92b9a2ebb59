//! Images from a registry: Debian's `docker-registry`, with TLS and a password, in the world around the host. The password is used
//! by the proxy of `hearth-host`, never in the builder.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hearth_control::id::AccountId;
use hearth_host::{RegistryLogin, RegistryLogins};
use hearth_image::{BuildError, BuildLimits, Failure, Mirror, Registries};
use hearth_net::{Egress, Network, NetworkOptions};
use hearth_test_world::PUBLIC;
use hearth_wire::agent::ExitStatus;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::fixture::{self, Fixture};

/// The registry by its address: the proxy asks the resolver of this process, which knows no name of the world's.
const REGISTRY: &str = "203.0.113.1:5000";
const USER: &str = "builder";
const PASSWORD: &str = "correct horse";

/// User and password as files of Docker's have them.
const PASSWORD_BASE64: &str = "YnVpbGRlcjpjb3JyZWN0IGhvcnNl";

/// bcrypt of the password, the only form that the registry reads.
const PASSWORD_HASH: &str = "$2b$04$PgUATVy48zkjsgr3T.NlwuHZLoEWvQPOBbeOzUWkbmM3bdSbYEWYO";

const DOCKERFILE: &str = "FROM docker.io/library/tool:1.0\nRUN cat /word > /said && echo built >> /said\nCMD [\"cat\", \"/said\"]\n";

/// The registry's process; it ends with the test.
struct Registry(Child);

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a test on a host with a registry in its world; the test gets the registry's certificate.
fn with_registry<F: Future<Output = ()>>(test: impl FnOnce(Fixture, Vec<u8>) -> F + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let directory = tempfile::tempdir().unwrap();
            let certificate = furnish(directory.path());
            let configuration = directory.path().join("config.yml");
            let started = Arc::new(Mutex::new(None));
            let starting = Arc::clone(&started);
            let is_root = hearth_test_world::enter_beside(move || {
                *starting.lock().unwrap() = Some(start(&configuration));
            });
            assert!(is_root, "the tests of builds run as root");
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let options = NetworkOptions {
                    state: directory.path().join("port"),
                    name_servers: vec![(PUBLIC, 53).into()],
                };
                wait_for_registry().await;
                let fixture = Fixture::with_network(Network::start(options).await.unwrap());
                test(fixture, certificate).await;
            });
            drop(started.lock().unwrap().take());
        });
    });
}

fn start(configuration: &Path) -> Registry {
    let child = Command::new(env::var_os("HEARTH_TEST_REGISTRY").unwrap())
        .arg("serve")
        .arg(configuration)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Registry(child)
}

async fn wait_for_registry() {
    for _ in 0..600 {
        if tokio::net::TcpStream::connect((PUBLIC, 5000)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the registry does not listen");
}

/// Certificate, password, and one image; answers the certificate.
fn furnish(directory: &Path) -> Vec<u8> {
    let own = rcgen::generate_simple_self_signed(vec![PUBLIC.to_string()]).unwrap();
    let certificate = own.cert.pem();
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
    write("certificate.pem", &certificate);
    write("key.pem", &own.signing_key.serialize_pem());
    write("htpasswd", &format!("{USER}:{PASSWORD_HASH}\n"));
    let at = directory.display();
    write(
        "config.yml",
        &format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {at}/storage}}}}\n\
             http: {{addr: \"{PUBLIC}:5000\", secret: x, tls: {{certificate: {at}/certificate.pem, key: {at}/key.pem}}}}\n\
             auth: {{htpasswd: {{realm: test, path: {at}/htpasswd}}}}\n"
        ),
    );
    store_image(&directory.join("storage/docker/registry/v2"));
    certificate.into_bytes()
}

/// Writes `team/tool:1.0` as the registry keeps it: a static busybox and a word.
fn store_image(storage: &Path) {
    let mut layer = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        layer.append_data(&mut header, path, content).unwrap();
    };
    let busybox = fs::read("/bin/busybox").unwrap();
    add("bin/busybox", 0o755, &busybox);
    for name in ["sh", "cat"] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        layer
            .append_link(&mut header, format!("bin/{name}"), "busybox")
            .unwrap();
    }
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(7);
    layer
        .append_data(&mut header, "word", &b"pulled\n"[..])
        .unwrap();
    let layer = layer.into_inner().unwrap();
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped.write_all(&layer).unwrap();
    let zipped = zipped.finish().unwrap();

    let configuration = json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": configuration.len(), "digest": digest(configuration.as_bytes()),
        },
        "layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "size": zipped.len(), "digest": digest(&zipped),
        }],
    })
    .to_string();
    let repository = storage.join("repositories/team/tool");
    for blob in [&zipped[..], configuration.as_bytes()] {
        keep(storage, blob);
        link(&repository.join("_layers/sha256").join(hex(blob)), blob);
    }
    let manifest = manifest.as_bytes();
    keep(storage, manifest);
    let manifests = repository.join("_manifests");
    link(
        &manifests.join("revisions/sha256").join(hex(manifest)),
        manifest,
    );
    link(&manifests.join("tags/1.0/current"), manifest);
    link(
        &manifests.join("tags/1.0/index/sha256").join(hex(manifest)),
        manifest,
    );
}

fn keep(storage: &Path, blob: &[u8]) {
    let name = hex(blob);
    let place = storage.join("blobs/sha256").join(&name[..2]).join(&name);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("data"), blob).unwrap();
}

fn link(directory: &Path, blob: &[u8]) {
    fs::create_dir_all(directory).unwrap();
    let mut file = File::create(directory.join("link")).unwrap();
    file.write_all(digest(blob).as_bytes()).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

/// What leads to the registry.
#[derive(Clone)]
struct Ways {
    registries: Registries,
    logins: RegistryLogins,
}

impl Ways {
    fn new(certificate: &[u8]) -> Self {
        let mirror = Mirror {
            location: format!("{REGISTRY}/team"),
            is_insecure: false,
        };
        let registries = Registries {
            ca_bundle: Some(certificate.to_vec()),
            mirrors: [("docker.io/library".to_owned(), mirror)].into(),
        };
        let bundle = std::str::from_utf8(certificate).unwrap();
        Self {
            registries,
            logins: RegistryLogins::new(vec![login()], bundle).unwrap(),
        }
    }

    /// The account has no login.
    fn without_login(self) -> Self {
        let logins = RegistryLogins::new(Vec::new(), "").unwrap();
        Self { logins, ..self }
    }

    /// Nobody vouches for the registry.
    fn without_certificate(self) -> Self {
        Self {
            registries: Registries {
                ca_bundle: None,
                ..self.registries
            },
            logins: RegistryLogins::new(vec![login()], "").unwrap(),
        }
    }
}

fn login() -> RegistryLogin {
    RegistryLogin {
        registry: REGISTRY.to_owned(),
        user: USER.to_owned(),
        password: PASSWORD.to_owned(),
        accounts: [AccountId::FIRST].into(),
        repositories: ["team".to_owned()].into(),
        is_plain: false,
    }
}

/// Builds with what leads to the registry, changed. Answers the lines of its output, too.
async fn build(
    fixture: &Fixture,
    name: &str,
    dockerfile: &str,
    ways: Ways,
    egress: Egress,
) -> (Result<hearth_image::BuiltRoot, BuildError>, Vec<String>) {
    let artifact = fixture::artifact(&[("Dockerfile", dockerfile.as_bytes())]);
    let (mut request, mut lines) = fixture.request(name, artifact, BuildLimits::default());
    request.registry_proxy = ways.logins.proxy(AccountId::FIRST, &egress);
    request.egress = egress;
    let mut builder = fixture.builder();
    builder.registries = ways.registries;
    let collect = async {
        let mut said = Vec::new();
        while let Some(line) = lines.recv().await {
            println!("{name}: {line}");
            said.push(line);
        }
        said
    };
    tokio::join!(builder.build(request), collect)
}

#[test]
fn an_image_is_pulled_with_a_password_from_a_mirror() {
    with_registry(|fixture, certificate| async move {
        let ways = Ways::new(&certificate);
        let built = build(&fixture, "pulled", DOCKERFILE, ways, Egress::internet()).await;
        let built = built.0.unwrap();
        let (said, status) = fixture.run("run-pulled", &built.root).await;
        assert_eq!(
            (said, status),
            (
                vec!["pulled".to_owned(), "built".to_owned()],
                ExitStatus::Code(0)
            )
        );
    });
}

/// Finding H3: the password was a file of the builder's kernel, which every Dockerfile owns. Here one mounts the builder's root into
/// its container by way of a link (CVE-2024-1753), and reads everything.
#[test]
fn the_password_is_nowhere_in_the_builder() {
    with_registry(|fixture, certificate| async move {
        let dockerfile = format!(
            "FROM {REGISTRY}/team/tool:1.0 AS link\n\
             RUN busybox ln -s / /x\n\
             FROM {REGISTRY}/team/tool:1.0\n\
             RUN --mount=type=bind,from=link,source=/x,target=/h \
             cd /h && cat root/.docker/config.json root/.config/containers/auth.json run/containers/0/auth.json; \
             echo looked\n"
        );
        let ways = Ways::new(&certificate);
        let (built, said) = build(&fixture, "curious", &dockerfile, ways, Egress::internet()).await;
        // A buildah that refuses the mount is as good.
        if built.is_ok() {
            assert!(
                said.iter().any(|line| line.ends_with(" looked")),
                "{said:?}"
            );
        }
        let is_secret = |line: &&String| line.contains(PASSWORD) || line.contains(PASSWORD_BASE64);
        assert_eq!(said.iter().find(is_secret), None);
    });
}

#[test]
fn what_keeps_an_image_from_being_pulled_is_named() {
    with_registry(|fixture, certificate| async move {
        let direct = format!("FROM {REGISTRY}/team/tool:1.0\n");
        let good = Ways::new(&certificate);
        let failure = |built: Result<_, BuildError>| match built.map(drop) {
            Err(BuildError::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        };
        let internet = Egress::internet;
        let stranger = good.clone().without_login();
        let (built, _) = build(&fixture, "stranger", &direct, stranger, internet()).await;
        assert!(matches!(failure(built), Failure::UnknownImage { .. }));

        let unbelieving = good.clone().without_certificate();
        let (built, _) = build(&fixture, "unbelieving", &direct, unbelieving, internet()).await;
        let said = failure(built).to_string();
        assert!(said.contains("certificate"), "{said}");

        for (name, repository) in [("missing", "team/other"), ("forbidden", "private/tool")] {
            let other = format!("FROM {REGISTRY}/{repository}:1.0\n");
            let (built, _) = build(&fixture, name, &other, good.clone(), internet()).await;
            let failure = failure(built);
            assert!(matches!(failure, Failure::UnknownImage { .. }), "{failure}");
        }

        let (built, _) = build(&fixture, "closed", &direct, good.clone(), Egress::closed()).await;
        assert!(matches!(failure(built), Failure::UnknownImage { .. }));

        let elsewhere = Egress {
            rules: vec!["203.0.113.1:443".parse().unwrap()],
            names: hearth_net::Names::All,
            ..Egress::closed()
        };
        let (built, _) = build(&fixture, "elsewhere", &direct, good, elsewhere).await;
        assert!(matches!(failure(built), Failure::NoNetwork { .. }));
    });
}
