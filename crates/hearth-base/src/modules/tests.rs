use proptest::prelude::*;

use super::*;

fn order(wanted: &[&str], kernel: &[(&str, &[&str], &[&str])]) -> Result<Vec<String>, ModuleError> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    closure(wanted, &mut |name| {
        Ok(kernel
            .iter()
            .find(|(module, _, _)| *module == name)
            .map(|(_, hard, soft)| Needs {
                hard: owned(hard),
                soft: owned(soft),
                ..Needs::default()
            }))
    })
}

#[test]
fn needs_come_first_and_once() {
    let kernel: &[(&str, &[&str], &[&str])] = &[
        ("virtio_net", &["net_failover"], &[]),
        ("net_failover", &["failover"], &[]),
        ("failover", &[], &[]),
        ("erofs", &["libcrc32c"], &[]),
        ("libcrc32c", &[], &["crc32c"]),
    ];
    assert_eq!(
        order(&["virtio-net", "erofs", "failover", "built_in"], kernel).unwrap(),
        [
            "failover",
            "net_failover",
            "virtio_net",
            "libcrc32c",
            "erofs"
        ]
    );
}

#[test]
fn a_missing_need_names_who_asks() {
    let error = order(&["kvm_amd"], &[("kvm_amd", &["kvm"], &[])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "module kvm_amd needs kvm, which the kernel package does not have"
    );
}

#[test]
fn a_circle_is_an_error() {
    let kernel: &[(&str, &[&str], &[&str])] = &[("a", &["b"], &[]), ("b", &["a"], &[])];
    assert!(matches!(order(&["a"], kernel), Err(ModuleError::Circle(_))));
}

#[test]
fn modinfo_is_parsed() {
    let info = b"license=GPL\0depends=kvm,irq-bypass\0softdep=pre: crc32c post: late\0alias=fs-nfs\0alias=pci:v*d*\0\0";
    assert_eq!(
        parse_modinfo(info),
        Needs {
            hard: vec!["kvm".into(), "irq_bypass".into()],
            soft: vec!["crc32c".into()],
            aliases: vec!["fs_nfs".into()],
        }
    );
}

#[test]
fn file_names_become_module_names() {
    assert_eq!(
        name_of_file("lib/modules/6/kernel/kvm-amd.ko.xz").as_deref(),
        Some("kvm_amd")
    );
    assert_eq!(name_of_file("modules.order"), None);
}

proptest! {
    /// In any acyclic kernel every module stands after its needs, and nothing stands twice.
    #[test]
    fn load_order_is_topological(edges in proptest::collection::vec((0_usize..12, 0_usize..12), 0..40)) {
        let needs_of = |module: usize| -> Vec<String> {
            edges
                .iter()
                .filter(|(from, to)| *from == module && to < from)
                .map(|(_, to)| format!("m{to}"))
                .collect()
        };
        let names: Vec<String> = (0..12).map(|index| format!("m{index}")).collect();
        let wanted: Vec<&str> = names.iter().rev().map(String::as_str).collect();
        let order = closure(&wanted, &mut |name| {
            let index = name[1..].parse().unwrap();
            Ok(Some(Needs { hard: needs_of(index), ..Needs::default() }))
        })
        .unwrap();
        prop_assert_eq!(order.len(), 12);
        let position = |name: &str| order.iter().position(|other| other == name).unwrap();
        for index in 0..12 {
            for needed in needs_of(index) {
                let own = position(&format!("m{index}"));
                prop_assert!(position(&needed) < own);
            }
        }
    }
}
