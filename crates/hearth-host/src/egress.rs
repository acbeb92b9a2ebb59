//! Turns egress connectors into the rules of a network card.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_control::arn::{ConnectorArn, ConnectorRef, ManagedConnector};
use hearth_control::connector::{RuleBook, VpcEgress};
use hearth_control::id::AccountId;
use hearth_control::store::Store;
use hearth_net::{Egress, Names};

/// Egress rules of one name in a connector, and the accounts that may use the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet {
    /// The accounts whose connectors may name it.
    pub accounts: BTreeSet<AccountId>,
    /// Egress rules of the name.
    pub egress: Egress,
}

/// Rule sets by name.
pub type RuleSets = BTreeMap<String, RuleSet>;

/// Looks up what connectors allow.
#[derive(Clone)]
pub struct ConnectorEgress {
    store: Arc<dyn Store>,
    subnets: Arc<RuleSets>,
    security_groups: Arc<RuleSets>,
}

impl ConnectorEgress {
    /// Connectors are in `store`. The operator defines `subnet-...` and `sg-...`.
    pub fn new(store: Arc<dyn Store>, subnets: RuleSets, security_groups: RuleSets) -> Self {
        Self {
            store,
            subnets: Arc::new(subnets),
            security_groups: Arc::new(security_groups),
        }
    }

    /// What all of these connectors allow together. A connector that is gone, or that names a rule set that the
    /// operator has removed, allows nothing (fail closed) and is logged.
    pub(crate) async fn of(&self, connectors: &[ConnectorRef]) -> Egress {
        let mut all = Egress::closed();
        for connector in connectors {
            match connector {
                ConnectorRef::Managed { connector, .. } => match connector {
                    ManagedConnector::InternetEgress => add(&mut all, &Egress::internet()),
                    // Ingress connectors, and the one that allows nothing.
                    ManagedConnector::NoEgress
                    | ManagedConnector::AllIngress
                    | ManagedConnector::HttpIngress
                    | ManagedConnector::NoIngress
                    | ManagedConnector::ShellIngress
                    | ManagedConnector::CorsIngress => {}
                },
                ConnectorRef::Own(arn) => match self.configuration(arn).await {
                    Some(egress) => self.add_rule_sets(&mut all, arn.scope.account, &egress),
                    None => tracing::warn!(%arn, "a connector that is not there opens nothing"),
                },
            }
        }
        all
    }

    async fn configuration(&self, arn: &ConnectorArn) -> Option<VpcEgress> {
        let number = match arn.version {
            Some(number) => number,
            None => self.store.connector(arn.id).await.ok()??.latest_version,
        };
        let version = self.store.connector_version(arn.id, number).await.ok()??;
        Some(version.egress)
    }

    fn add_rule_sets(&self, all: &mut Egress, account: AccountId, egress: &VpcEgress) {
        let groups = egress.security_group_ids.iter().flatten();
        let named = egress.subnet_ids.iter().map(|id| (id, &self.subnets));
        for (id, sets) in named.chain(groups.map(|id| (id, &self.security_groups))) {
            match sets.get(id).filter(|set| set.accounts.contains(&account)) {
                Some(set) => add(all, &set.egress),
                None => {
                    tracing::warn!(id, %account, "a rule set that is not defined for an account opens nothing");
                }
            }
        }
    }
}

/// The names that callers may use in connectors.
pub fn rule_book(subnets: &RuleSets, security_groups: &RuleSets) -> RuleBook {
    let names = |sets: &RuleSets| {
        let named = sets.iter();
        named
            .map(|(name, set)| (name.clone(), set.accounts.clone()))
            .collect()
    };
    RuleBook {
        subnets: names(subnets),
        security_groups: names(security_groups),
    }
}

fn add(all: &mut Egress, more: &Egress) {
    all.internet |= more.internet;
    all.rules.extend(more.rules.iter().cloned());
    all.names = match (std::mem::take(&mut all.names), more.names.clone()) {
        (Names::All, _) | (_, Names::All) => Names::All,
        (Names::None, names) | (names, Names::None) => names,
        (Names::Listed(mut names), Names::Listed(more)) => {
            names.extend(more);
            Names::Listed(names)
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_add_up() {
        let listed = |name: &str| Egress {
            names: Names::Listed(vec![name.parse().unwrap()]),
            rules: vec!["10.0.0.1:1".parse().unwrap()],
            internet: false,
        };
        let mut all = Egress::closed();
        add(&mut all, &listed("a.example"));
        assert_eq!(all, listed("a.example"));
        add(&mut all, &listed("b.example"));
        let both = ["a.example", "b.example"].map(|name| name.parse().unwrap());
        assert_eq!(all.names, Names::Listed(both.to_vec()));
        assert_eq!(all.rules.len(), 2);
        add(&mut all, &Egress::internet());
        assert_eq!((all.internet, all.names), (true, Names::All));
    }
}
