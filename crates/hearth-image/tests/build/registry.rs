//! Images from a registry: Debian's `docker-registry`, with TLS and a password, in the world around the host.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hearth_image::{BuildError, BuildLimits, Credentials, Failure, Mirror, Registries};
use hearth_net::{Egress, Network, NetworkOptions};
use hearth_test_world::PUBLIC;
use hearth_wire::agent::ExitStatus;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::fixture::{self, Fixture};

const REGISTRY: &str = "registry.test:5000";
const USER: &str = "builder";
const PASSWORD: &str = "correct horse";

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
    let own = rcgen::generate_simple_self_signed(vec!["registry.test".to_owned()]).unwrap();
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

fn registries(certificate: &[u8]) -> Registries {
    let credentials = Credentials {
        user: USER.to_owned(),
        password: PASSWORD.to_owned(),
    };
    let mirror = Mirror {
        location: format!("{REGISTRY}/team"),
        is_insecure: false,
    };
    Registries {
        ca_bundle: Some(certificate.to_vec()),
        credentials: [(REGISTRY.to_owned(), credentials)].into(),
        mirrors: [("docker.io/library".to_owned(), mirror)].into(),
    }
}

/// Builds with what leads to the registry, changed.
async fn build(
    fixture: &Fixture,
    name: &str,
    dockerfile: &str,
    registries: Registries,
    egress: Egress,
) -> Result<hearth_image::Built, BuildError> {
    let artifact = fixture::artifact(&[("Dockerfile", dockerfile.as_bytes())]);
    let (mut request, mut lines) = fixture.request(name, artifact, BuildLimits::default());
    request.egress = egress;
    let mut builder = fixture.builder();
    builder.registries = registries;
    let print = async {
        while let Some(line) = lines.recv().await {
            println!("{name}: {line}");
        }
    };
    tokio::join!(builder.build(request), print).0
}

#[test]
fn an_image_is_pulled_with_a_password_from_a_mirror() {
    with_registry(|fixture, certificate| async move {
        let registries = registries(&certificate);
        let built = build(
            &fixture,
            "pulled",
            DOCKERFILE,
            registries,
            Egress::internet(),
        )
        .await;
        let built = built.unwrap();
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

#[test]
fn what_keeps_an_image_from_being_pulled_is_named() {
    with_registry(|fixture, certificate| async move {
        let direct = format!("FROM {REGISTRY}/team/tool:1.0\n");
        let good = registries(&certificate);
        let stranger = Registries {
            credentials: Default::default(),
            ..good.clone()
        };
        let failure = |built: Result<_, BuildError>| match built.map(drop) {
            Err(BuildError::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        };
        let built = build(&fixture, "stranger", &direct, stranger, Egress::internet()).await;
        assert!(matches!(failure(built), Failure::UnknownImage { .. }));

        let unbelieving = Registries {
            ca_bundle: None,
            ..good.clone()
        };
        let built = build(
            &fixture,
            "unbelieving",
            &direct,
            unbelieving,
            Egress::internet(),
        )
        .await;
        let said = failure(built).to_string();
        assert!(said.contains("certificate"), "{said}");

        let other = format!("FROM {REGISTRY}/team/other:1.0\n");
        let built = build(
            &fixture,
            "missing",
            &other,
            good.clone(),
            Egress::internet(),
        )
        .await;
        assert!(matches!(failure(built), Failure::UnknownImage { .. }));

        let built = build(&fixture, "closed", &direct, good.clone(), Egress::closed()).await;
        assert!(matches!(failure(built), Failure::UnknownImage { .. }));

        let elsewhere = Egress {
            rules: vec!["203.0.113.1:443".parse().unwrap()],
            names: hearth_net::Names::All,
            ..Egress::closed()
        };
        let built = build(&fixture, "elsewhere", &direct, good, elsewhere).await;
        assert!(matches!(failure(built), Failure::NoNetwork { .. }));
    });
}
