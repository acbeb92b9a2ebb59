//! Metrics of the front: requests by service, operation and status, and how long they took.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Labels of a request. All values are constants, so clients cannot create new time series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    service: &'static str,
    operation: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    service: &'static str,
    operation: &'static str,
}

/// The front's metrics.
#[derive(Clone, Debug)]
pub struct FrontMetrics {
    requests: Family<Request, Counter>,
    seconds: Family<Operation, Histogram, fn() -> Histogram>,
    pub(crate) connections: Gauge,
    pub(crate) refused_connections: Counter,
}

impl FrontMetrics {
    /// Creates the metrics and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(latency_histogram),
            connections: Gauge::default(),
            refused_connections: Counter::default(),
        };
        let registry = registry.sub_registry_with_prefix("hearth_front");
        registry.register("requests", "Requests answered", metrics.requests.clone());
        registry.register(
            "request_seconds",
            "Time to the answer's head",
            metrics.seconds.clone(),
        );
        registry.register(
            "connections",
            "Open connections",
            metrics.connections.clone(),
        );
        registry.register(
            "refused_connections",
            "Connections over the limit",
            metrics.refused_connections.clone(),
        );
        metrics
    }

    pub(crate) fn observe(
        &self,
        service: &'static str,
        operation: Option<&'static str>,
        status: u16,
        elapsed: Duration,
    ) {
        let operation = operation.unwrap_or("none");
        self.requests
            .get_or_create(&Request {
                service,
                operation,
                status,
            })
            .inc();
        self.seconds
            .get_or_create(&Operation { service, operation })
            .observe(elapsed.as_secs_f64());
    }
}

/// From 100 µs to about 26 s.
fn latency_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 18))
}
