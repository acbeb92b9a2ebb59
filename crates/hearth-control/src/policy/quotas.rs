//! The quotas of an account: the table `[quotas]` of the configuration.
//!
//! Where AWS publishes a number it is the default. The other defaults are for one host: far above what one team needs, and
//! low enough that a single account cannot fill the host with records, files or requests.

/// The quotas of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// MicroVMs that are not TERMINATED. AWS has no such quota.
    pub microvms: u32,
    /// Baseline memory of all microVMs that are not TERMINATED, in MiB. AWS: 400 GiB.
    pub memory_mib: u64,
    /// Launches and forks per second. AWS: 5.
    pub runs_per_second: u32,
    /// Ended microVMs that the account can still look up. AWS shows all for a while. A record takes about 2 KiB, so
    /// the default takes 20 MiB of the store.
    pub ended_microvms: u32,
    /// Images. AWS: 100.
    pub images: u32,
    /// Versions of one image. AWS: 50.
    pub versions_per_image: u32,
    /// Builds under way, waiting ones included. AWS: 5.
    pub concurrent_builds: u32,
    /// Network connectors. AWS: 100.
    pub connectors: u32,
    /// Versions of one network connector.
    pub versions_per_connector: u32,
    /// Tags of one resource. AWS: 50.
    pub tags_per_resource: u32,
    /// Access keys. AWS allows two for each user. An account here has no users.
    pub access_keys: u32,
    /// Roles. AWS: 1000.
    pub roles: u32,
    /// Policies of one role. All are read whenever the role is used.
    pub policies_per_role: u32,
    /// Requests per second to all services together, refused ones included. As many as the guest of one microVM may
    /// send to the services of the host.
    pub requests_per_second: u32,
    /// Requests that may come at once after a quiet time: two seconds' worth, for scripts that start many calls
    /// together.
    pub request_burst: u32,
    /// Bytes of all objects, in MiB. The default is a hundred artifacts of a gigabyte.
    pub object_mib: u64,
    /// Bytes of all log events, in MiB. The default is ten full log groups.
    pub log_mib: u64,
    /// Log events per second, those of guests' output included; an event counts once more for each KiB of its text. All accounts write through one writer, which takes some
    /// hundred thousand a second. AWS counts requests: 5000 a second, each with up to 10,000 events.
    pub log_events_per_second: u32,
    /// Clients that follow logs at one time. The default is half of all places, so that one account leaves room for
    /// others.
    pub followers: u32,
}

impl Quotas {
    /// The quota for objects, in bytes.
    #[must_use]
    pub const fn object_bytes(&self) -> u64 {
        self.object_mib.saturating_mul(1 << 20)
    }

    /// The quota for log events, in bytes.
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
            log_events_per_second: 10_000,
            followers: 128,
        }
    }
}
