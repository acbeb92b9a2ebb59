//! Capacity, processor level and base images of this host.

use std::fs;
use std::path::Path;

use hearth_base::BaseVersion;
use hearth_control::image::{ManagedImage, ManagedStatus, ManagedVersion};
use hearth_control::policy::Capacity;
use hearth_control::time::Timestamp;

use crate::config::Hosting;
use crate::error::{ServiceError, part};

/// Capacity of this host. Baseline memory is guaranteed to a microVM, so the sum of all baselines must fit the memory
/// that is free now.
pub(crate) fn capacity(hosting: Hosting) -> Capacity {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let default = Capacity::default();
    Capacity {
        resident_mib: available_mib(&meminfo).unwrap_or(default.resident_mib),
        // One emulated processor: two builds at once would take as long and use twice the memory.
        concurrent_builds: match hosting {
            Hosting::Hardware => default.concurrent_builds,
            Hosting::Emulated => 1,
        },
        builder_mib: hearth_image::BuildLimits::default().memory_mib,
        ..default
    }
}

fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

/// The names under which callers ask for a base image: AWS's names, so that existing scripts work, and descriptive
/// ones. Their versions are the base versions of this host, oldest first.
pub(crate) fn managed_images(data: &Path) -> Result<Vec<ManagedImage>, ServiceError> {
    let bases = hearth_base::list(data).map_err(part("the guest kernels"))?;
    let built: Vec<Timestamp> = bases.iter().map(built_at).collect();
    let versions = managed_versions(&built);
    let (Some(last), Some(first)) = (versions.first(), versions.last()) else {
        return Err(ServiceError::NoBase);
    };
    let (created_at, updated_at) = (first.created_at, last.created_at);
    let image = |name: &str| {
        Ok(ManagedImage {
            name: name.parse().map_err(part("a managed image"))?,
            created_at,
            updated_at,
            versions: versions.clone(),
        })
    };
    Ok(vec![image("al2023-1")?, image("debian12-1")?])
}

/// The versions of base images, newest first. They count from one. Version 0 is named by nearly every public sample for
/// AWS, so it exists too, as one that is deprecated. All builds use the newest base of this host, whichever they name.
fn managed_versions(built: &[Timestamp]) -> Vec<ManagedVersion> {
    let version = |number, status, at| ManagedVersion {
        number,
        status,
        created_at: at,
        updated_at: at,
    };
    let first = built
        .first()
        .map(|at| version(0, ManagedStatus::Deprecated, *at));
    let newest = built.len();
    let counted = built.iter().zip(1..).map(|(at, number)| {
        let status = match number as usize == newest {
            true => ManagedStatus::Available,
            false => ManagedStatus::Deprecated,
        };
        version(number, status, *at)
    });
    let mut versions: Vec<_> = first.into_iter().chain(counted).collect();
    versions.reverse();
    versions
}

fn built_at(base: &BaseVersion) -> Timestamp {
    let parsed: Result<jiff::Timestamp, _> = base.built_at.parse();
    Timestamp::from_unix_ms(parsed.map_or(0, jiff::Timestamp::as_millisecond))
}

/// The processor feature level of this host.
pub(crate) fn chipset_generation() -> String {
    microarchitecture_level(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// The microarchitecture level of the x86-64 psABI, by the features that tell the levels apart.
fn microarchitecture_level(cpuinfo: &str) -> String {
    let flags = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("flags"))
        .unwrap_or_default();
    let has = |wanted: &[&str]| {
        wanted
            .iter()
            .all(|flag| flags.split(' ').any(|known| known == *flag))
    };
    let level = if has(&["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]) {
        "v4"
    } else if has(&["avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"]) {
        "v3"
    } else {
        "v2"
    };
    level.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_the_features() {
        let v3 = "flags\t\t: fpu avx2 bmi1 bmi2 f16c fma movbe\n";
        assert_eq!(microarchitecture_level(v3), "v3");
        let v4 = v3.replace('\n', " avx512f avx512bw avx512cd avx512dq avx512vl\n");
        assert_eq!(microarchitecture_level(&v4), "v4");
        assert_eq!(microarchitecture_level("flags : sse4_2\n"), "v2");
    }

    #[test]
    fn versions_that_samples_name_exist() {
        let built = [1, 2].map(Timestamp::from_unix_ms);
        let versions = managed_versions(&built);
        let numbers: Vec<_> = versions.iter().map(|version| version.number).collect();
        assert_eq!(numbers, [2, 1, 0]);
        let available = |version: &&ManagedVersion| version.status == ManagedStatus::Available;
        let newest: Vec<_> = versions.iter().filter(available).collect();
        assert_eq!((newest.len(), newest[0].number), (1, 2));
        assert!(managed_versions(&[]).is_empty());
    }
}
