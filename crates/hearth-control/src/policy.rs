//! Limits and durations that an operator may change. The defaults are those of AWS (facts section 13).

use std::time::Duration;

/// What the control plane goes by.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What one account may have.
    pub quotas: Quotas,
    /// What the host can carry.
    pub capacity: Capacity,
    /// Longest life of a microVM, and the default.
    pub max_duration: Duration,
    /// How long TERMINATED microVMs stay visible.
    pub terminated_retention: Duration,
    /// How long a client token is remembered.
    pub token_retention: Duration,
    /// How long closed journal entries are kept.
    pub journal_retention: Duration,
    /// How often control plane and host are held against each other.
    pub reconcile_interval: Duration,
    /// Factor on every hook timeout. One on hardware; more where guests run under emulation.
    pub hook_timeout_scale: u32,
    /// How long one build may take.
    pub build_deadline: Duration,
    /// How often an interrupted build is begun before it is failed.
    pub max_build_attempts: u32,
}

/// What one account may have.
#[derive(Debug, Clone, Copy)]
pub struct Quotas {
    /// Baseline memory of all its microVMs that are not TERMINATED.
    pub memory_mib: u64,
    /// Images.
    pub images: u32,
    /// Versions of one image.
    pub versions_per_image: u32,
    /// Builds under way.
    pub concurrent_builds: u32,
    /// Network connectors.
    pub connectors: u32,
    /// Versions of one network connector.
    pub versions_per_connector: u32,
    /// Tags of one resource.
    pub tags_per_resource: u32,
    /// Access keys.
    pub access_keys: u32,
    /// Roles.
    pub roles: u32,
    /// Policies of one role.
    pub policies_per_role: u32,
}

/// What the host can carry.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Baseline memory of the microVMs that are in memory at one time.
    pub resident_mib: u64,
    /// MicroVMs that are in memory at one time.
    pub resident_microvms: u32,
    /// Builds that work at one time; others wait.
    pub concurrent_builds: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            quotas: Quotas::default(),
            capacity: Capacity::default(),
            max_duration: Duration::from_secs(8 * 60 * 60),
            terminated_retention: Duration::from_secs(24 * 60 * 60),
            token_retention: Duration::from_secs(24 * 60 * 60),
            journal_retention: Duration::from_secs(24 * 60 * 60),
            reconcile_interval: Duration::from_secs(30),
            hook_timeout_scale: 1,
            build_deadline: Duration::from_secs(2 * 60 * 60),
            max_build_attempts: 2,
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            memory_mib: 400 * 1024,
            images: 100,
            versions_per_image: 50,
            concurrent_builds: 5,
            connectors: 100,
            versions_per_connector: 50,
            tags_per_resource: 50,
            access_keys: 100,
            roles: 1000,
            policies_per_role: 50,
        }
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            resident_mib: 64 * 1024,
            resident_microvms: 1000,
            concurrent_builds: 2,
        }
    }
}
