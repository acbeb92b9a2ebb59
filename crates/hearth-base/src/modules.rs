//! Kernel modules: the lists for guests and the emulated host, and their dependencies in load order.
//!
//! Distribution packages contain no `modules.dep` (it is generated at installation), so the dependencies are read from
//! the `.modinfo` section of each module.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use elf::ElfBytes;
use elf::endian::LittleEndian;

use crate::compression::{Format, decompress};

/// Modules of a microVM: the devices that the VMM has, and the file systems that root disks use.
pub const GUEST_MODULES: &[&str] = &[
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    "virtio_balloon",
    "vsock",
    "vmw_vsock_virtio_transport",
    "overlay",
    "erofs",
    // The addresses of the host's services.
    "veth",
    // The agent destroys stale TCP connections after a restore through SOCK_DIAG.
    "inet_diag",
    "tcp_diag",
    // The agent reads the host's clock through it.
    "ptp_kvm",
];

/// Modules that a guest loads when something asks for them, where the application has all capabilities: what nested containers, packet
/// filters and mounts of the network need (facts section 11, measured on AWS; it has neither TUN nor VXLAN nor WireGuard). They are in
/// the initramfs as packed as in their package, and cost memory once they are loaded.
pub const ON_DEMAND_MODULES: &[&str] = &[
    "fuse",
    "af_packet",
    "bridge",
    "br_netfilter",
    "macvlan",
    "ipvlan",
    "dummy",
    "loop",
    "squashfs",
    "nfs",
    "nfsv3",
    "nfsv4",
    "nf_tables",
    "nft_chain_nat",
    "nft_compat",
    "nft_ct",
    "nft_fib_inet",
    "nft_hash",
    "nft_limit",
    "nft_log",
    "nft_masq",
    "nft_nat",
    "nft_numgen",
    "nft_quota",
    "nft_redir",
    "nft_reject_inet",
    "nf_conntrack_netlink",
    "nf_log_syslog",
    "ip_tables",
    "iptable_filter",
    "iptable_mangle",
    "iptable_nat",
    "iptable_raw",
    "ipt_REJECT",
    "xt_LOG",
    "xt_MASQUERADE",
    "xt_REDIRECT",
    "xt_TCPMSS",
    "xt_addrtype",
    "xt_bpf",
    "xt_cgroup",
    "xt_comment",
    "xt_connmark",
    "xt_conntrack",
    "xt_hashlimit",
    "xt_iprange",
    "xt_limit",
    "xt_mac",
    "xt_mark",
    "xt_multiport",
    "xt_nat",
    "xt_owner",
    "xt_physdev",
    "xt_pkttype",
    "xt_recent",
    "xt_set",
    "xt_state",
    "xt_statistic",
    "xt_string",
    "xt_tcpudp",
    "xt_u32",
    "ip_set",
    "ip_set_hash_ip",
    "ip_set_hash_net",
];

/// Names under which modules are asked for that they do not have themselves: a bridge brings its filter with it, which hosts of
/// containers load by hand.
pub(crate) const FURTHER_ALIASES: &[(&str, &str)] = &[
    ("br_netfilter", "bridge"),
    ("br_netfilter", "rtnl-link-bridge"),
];

/// Modules of the emulated host: KVM, its data disk and network, and the modules that a host of microVMs needs.
pub const EMULATED_HOST_MODULES: &[&str] = &[
    "irqbypass",
    "kvm",
    "kvm_amd",
    "kvm_intel",
    "tun",
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    "overlay",
    "erofs",
    "loop",
    "veth",
    "bridge",
    "nf_tables",
    "nft_ct",
    "nft_nat",
    "nft_masq",
    "nft_reject_inet",
    "nft_chain_nat",
    "nft_limit",
    "nft_connlimit",
    // For the agent's own tests, which run there too.
    "inet_diag",
    "tcp_diag",
];

/// Largest decompressed module, in bytes.
const MAX_MODULE_BYTES: u64 = 64 << 20;

/// Why the modules of a kernel cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// A module could not be decompressed.
    #[error("cannot decompress module {name}")]
    Decompress {
        /// The module.
        name: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A module is not an ELF file.
    #[error("module {name} is damaged")]
    Elf {
        /// The module.
        name: String,
        /// The cause.
        #[source]
        source: elf::ParseError,
    },
    /// The kernel does not have a module that another one needs.
    #[error("module {needed_by} needs {name}, which the kernel package does not have")]
    Missing {
        /// The module that is missing.
        name: String,
        /// The module that asks for it.
        needed_by: String,
    },
    /// Modules depend on each other in a cycle.
    #[error("module {0} depends on itself through other modules")]
    Circle(String),
}

/// The dependencies of a module: modules that are loaded before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// `depends=`: the module cannot be loaded without these.
    pub hard: Vec<String>,
    /// `softdep=pre:`: loaded if the kernel has them as modules; they may be built in.
    pub soft: Vec<String>,
    /// `alias=`: further names under which the kernel asks for the module, without those that are patterns of devices.
    pub aliases: Vec<String>,
}

/// Returns the name of the module in the file `path`, or `None` if the file is no module. Dashes and underscores are
/// equivalent in module names. This crate always uses underscores.
pub fn name_of_file(path: &str) -> Option<String> {
    let file = path.rsplit('/').next().unwrap_or(path);
    [".ko", ".ko.xz", ".ko.zst"]
        .iter()
        .find_map(|suffix| file.strip_suffix(suffix))
        .map(canonical)
}

/// Decompresses a module of a package. A module that is not compressed is returned unchanged.
pub fn decompressed(name: &str, bytes: &[u8]) -> Result<Vec<u8>, ModuleError> {
    match Format::detect(bytes) {
        None => Ok(bytes.to_vec()),
        Some(format) => {
            decompress(format, bytes, MAX_MODULE_BYTES).map_err(|source| ModuleError::Decompress {
                name: name.to_owned(),
                source,
            })
        }
    }
}

/// Reads the dependencies of the decompressed module in `bytes`.
pub fn needs(name: &str, bytes: &[u8]) -> Result<Needs, ModuleError> {
    let damaged = |source| ModuleError::Elf {
        name: name.to_owned(),
        source,
    };
    let elf = ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(damaged)?;
    let Some(section) = elf.section_header_by_name(".modinfo").map_err(damaged)? else {
        return Ok(Needs::default());
    };
    let (info, _) = elf.section_data(&section).map_err(damaged)?;
    let mut needs = parse_modinfo(info);
    let further = FURTHER_ALIASES.iter().filter(|(module, _)| *module == name);
    let further = further.map(|(_, alias)| canonical(alias));
    needs.aliases.extend(further);
    Ok(needs)
}

/// Parses `.modinfo`: `key=value` strings, each ended by NUL.
fn parse_modinfo(info: &[u8]) -> Needs {
    let mut needs = Needs::default();
    for entry in info.split(|byte| *byte == 0) {
        let entry = String::from_utf8_lossy(entry);
        if let Some(list) = entry.strip_prefix("depends=") {
            let names = list.split(',').filter(|name| !name.is_empty());
            needs.hard.extend(names.map(canonical));
        } else if let Some(alias) = entry.strip_prefix("alias=") {
            if !alias.contains(['*', '?', '[']) {
                needs.aliases.push(canonical(alias));
            }
        } else if let Some(list) = entry.strip_prefix("softdep=") {
            let mut is_pre = false;
            for word in list.split_whitespace() {
                match word {
                    "pre:" => is_pre = true,
                    "post:" => is_pre = false,
                    name if is_pre => needs.soft.push(canonical(name)),
                    _ => {}
                }
            }
        }
    }
    needs
}

/// The modules `wanted` and all their dependencies, each after its own dependencies.
///
/// Wanted modules and soft dependencies that `lookup` does not know are left out, as kernels differ in what is built
/// in. A missing hard dependency is an error. `lookup` answers `None` for a name that is not a module.
pub fn closure(
    wanted: &[&str],
    lookup: &mut dyn FnMut(&str) -> Result<Option<Needs>, ModuleError>,
) -> Result<Vec<String>, ModuleError> {
    let mut walk = Walk {
        lookup,
        known: BTreeMap::new(),
        entered: BTreeSet::new(),
        order: Vec::new(),
    };
    for name in wanted {
        walk.enter(&canonical(name))?;
    }
    Ok(walk.order)
}

struct Walk<'a> {
    lookup: &'a mut dyn FnMut(&str) -> Result<Option<Needs>, ModuleError>,
    /// Finished names, and whether they are modules.
    known: BTreeMap<String, bool>,
    /// Names on the path from the wanted module to the current one.
    entered: BTreeSet<String>,
    order: Vec<String>,
}

impl Walk<'_> {
    /// Appends `name` after its dependencies. Returns whether it is a module.
    fn enter(&mut self, name: &str) -> Result<bool, ModuleError> {
        if let Some(is_module) = self.known.get(name) {
            return Ok(*is_module);
        }
        if !self.entered.insert(name.to_owned()) {
            return Err(ModuleError::Circle(name.to_owned()));
        }
        let needs = (self.lookup)(name)?;
        let is_module = needs.is_some();
        let needs = needs.unwrap_or_default();
        for soft in &needs.soft {
            self.enter(soft)?;
        }
        for hard in &needs.hard {
            if !self.enter(hard)? {
                return Err(ModuleError::Missing {
                    name: hard.clone(),
                    needed_by: name.to_owned(),
                });
            }
        }
        if is_module {
            self.order.push(name.to_owned());
        }
        self.entered.remove(name);
        self.known.insert(name.to_owned(), is_module);
        Ok(is_module)
    }
}

fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests;
