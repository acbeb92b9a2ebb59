//! What one account may have of the service: the table `[quotas]` of the configuration.
//!
//! Where AWS publishes a number it is the default. The other defaults are for one host: far above what one team needs, and
//! low enough that a single account cannot fill the host with records, files or requests.

/// What one account may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// MicroVMs that are not TERMINATED. AWS has no such number; a host carries no more.
    pub microvms: u32,
    /// Baseline memory of all microVMs that are not TERMINATED. AWS: 400 GiB.
    pub memory_mib: u64,
    /// Launches and forks a second. AWS: 5.
    pub runs_per_second: u32,
    /// Ended microVMs that the account can still look up. AWS shows all for a while. A record takes about 2 KiB, so these are
    /// 20 MiB of the store.
    pub ended_microvms: u32,
    /// Images. AWS: 100.
    pub images: u32,
    /// Versions of one image. AWS: 50.
    pub versions_per_image: u32,
    /// Builds under way, those that wait included. AWS: 5.
    pub concurrent_builds: u32,
    /// Network connectors. AWS: 100.
    pub connectors: u32,
    /// Versions of one network connector.
    pub versions_per_connector: u32,
    /// Tags of one resource. AWS: 50.
    pub tags_per_resource: u32,
    /// Access keys. AWS allows two of each user; an account here has no users.
    pub access_keys: u32,
    /// Roles. AWS: 1000.
    pub roles: u32,
    /// Policies of one role. Each is read when the role is used.
    pub policies_per_role: u32,
    /// Requests a second to all services together, those that are refused included. As many as one microVM's guest
    /// may send to the services of the host.
    pub requests_per_second: u32,
    /// Requests that may come at once after a quiet time. Two seconds' worth, for scripts that start many calls together.
    pub request_burst: u32,
    /// What its objects take. A hundred artifacts of a gigabyte.
    pub object_mib: u64,
    /// What its log events take. Ten full log groups.
    pub log_mib: u64,
    /// Clients that follow logs at one time: half of all places, so that one account leaves room for others.
    pub followers: u32,
}

impl Quotas {
    /// What its objects take, in bytes.
    #[must_use]
    pub const fn object_bytes(&self) -> u64 {
        self.object_mib.saturating_mul(1 << 20)
    }

    /// What its log events take, in bytes.
    #[must_use]
    pub const fn log_bytes(&self) -> u64 {
        self.log_mib.saturating_mul(1 << 20)
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            microvms: 1000,
            memory_mib: 400 * 1024,
            runs_per_second: 5,
            ended_microvms: 10_000,
            images: 100,
            versions_per_image: 50,
            concurrent_builds: 5,
            connectors: 100,
            versions_per_connector: 50,
            tags_per_resource: 50,
            access_keys: 100,
            roles: 1000,
            policies_per_role: 50,
            requests_per_second: 500,
            request_burst: 1000,
            object_mib: 100 * 1024,
            log_mib: 10 * 1024,
            followers: 128,
        }
    }
}
