//! Memory of each microVM on this host, as OpenMetrics.

use std::fmt;

use hearth_control::id::MicrovmId;
use hearth_control::instance::InstanceId;
use hearth_host::LocalHost;
use hearth_node::ProcessMemory;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

/// Memory of a host's microVMs, measured at each request for metrics.
pub(crate) struct MemoryMetrics(LocalHost);

impl MemoryMetrics {
    pub(crate) fn register(registry: &mut Registry, host: LocalHost) {
        registry.register_collector(Box::new(Self(host)));
    }
}

impl fmt::Debug for MemoryMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryMetrics")
    }
}

impl Collector for MemoryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let of_microvm = |(InstanceId::Microvm(id), memory)| (id, memory);
        encode(&mut encoder, self.0.memory().into_iter().map(of_microvm))
    }
}

fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    memory: impl IntoIterator<Item = (MicrovmId, ProcessMemory)>,
) -> fmt::Result {
    let name = "hearth_microvm_memory";
    let help =
        "Resident memory of a microVM's process: its own, and that of files which others may share";
    let unit = Some(&Unit::Bytes);
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (id, memory) in memory {
        let id = id.to_string();
        for (kind, bytes) in [
            ("private", memory.private_bytes),
            ("shared", memory.shared_bytes),
        ] {
            let labels = [("kind", kind), ("microvm", id.as_str())];
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            family.encode_family(&labels)?.encode_gauge(&bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct One(MicrovmId);

    impl Collector for One {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            let memory = ProcessMemory {
                private_bytes: 4096,
                shared_bytes: 8192,
            };
            encode(&mut encoder, [(self.0, memory)])
        }
    }

    #[test]
    fn each_microvm_has_its_own_and_what_it_shares() {
        let id = MicrovmId::generate();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(One(id)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for (kind, bytes) in [("private", 4096), ("shared", 8192)] {
            let line = format!(
                "hearth_microvm_memory_bytes{{kind=\"{kind}\",microvm=\"{id}\"}} {bytes}\n"
            );
            assert!(text.contains(&line), "{text}");
        }
    }
}
