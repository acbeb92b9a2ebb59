use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::test_versions::version;

struct World {
    pool: Pool,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            pool: Pool::new(PoolLimits::default()),
            now: Instant::now(),
        }
    }

    fn place(&mut self, version: &Arc<FunctionVersion>) -> Decision {
        let id = EnvironmentId::random();
        self.pool.place(version, id, false, self.now).0
    }

    fn run(&mut self, version: &Arc<FunctionVersion>) -> EnvironmentId {
        match self.place(version) {
            Decision::Start(id) | Decision::Reuse(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn over(&mut self, id: EnvironmentId) -> bool {
        self.now += Duration::from_millis(1);
        self.pool.answered(id);
        self.pool.ready(id, self.now)
    }
}

#[test]
fn the_newest_is_used_first() {
    let mut world = World::new();
    let f = Arc::new(version("f"));
    let (first, second) = (world.run(&f), world.run(&f));
    assert!(!world.over(second));
    assert!(!world.over(first));
    assert_eq!(world.place(&f), Decision::Reuse(first));
    assert_eq!(world.place(&f), Decision::Reuse(second));
}

#[test]
fn versions_and_tenants_share_nothing() {
    let mut world = World::new();
    let f = Arc::new(version("f"));
    let of_tenant = |tenant: &str| {
        let mut version = version("f");
        let mut spec = (*version.spec).clone();
        spec.tenant = Some(tenant.to_owned());
        version.spec = Arc::new(spec);
        Arc::new(version)
    };
    let plain = world.run(&f);
    let a = world.run(&of_tenant("a"));
    world.over(plain);
    world.over(a);
    assert!(matches!(world.place(&of_tenant("b")), Decision::Start(_)));
    assert_eq!(world.place(&of_tenant("a")), Decision::Reuse(a));
}

#[test]
fn a_changed_version_retires_what_ran_the_old_one() {
    let mut world = World::new();
    let old = Arc::new(version("f"));
    let (idle, busy) = (world.run(&old), world.run(&old));
    world.over(idle);
    let mut changed = version("f");
    changed.timeout = Duration::from_secs(9);
    let changed = Arc::new(changed);
    let id = EnvironmentId::random();
    let (decision, retired) = world.pool.place(&changed, id, true, world.now);
    assert_eq!((decision, retired), (Decision::Start(id), vec![idle]));
    assert!(world.over(busy), "it is retired when it is idle");
}

#[test]
fn an_invocation_waits_for_what_is_about_to_be_free() {
    let mut world = World::new();
    let mut one = version("one");
    one.reserved_concurrency = Some(1);
    let one = Arc::new(one);
    let id = world.run(&one);
    let place = |world: &mut World, may_wait| {
        let new = EnvironmentId::random();
        world.pool.place(&one, new, may_wait, world.now).0
    };
    let refused = Decision::Refuse(Throttle::Reserved);
    assert_eq!(place(&mut world, true), refused);
    world.pool.answered(id);
    assert_eq!(place(&mut world, true), Decision::Wait);
    assert_eq!(place(&mut world, false), refused);
    world.over(id);
    assert_eq!(place(&mut world, true), Decision::Reuse(id));
}

#[test]
fn idle_and_old_ones_end() {
    let mut world = World::new();
    let f = Arc::new(version("f"));
    let id = world.run(&f);
    world.over(id);
    assert!(world.pool.sweep(world.now).is_empty());
    let later = world.now + PoolLimits::default().idle;
    assert_eq!(world.pool.sweep(later), [id]);
    assert!(world.pool.sweep(later).is_empty(), "told once");
    world.pool.finished(id);
    assert_eq!(world.pool.counts(), (0, 0));
    let busy = world.run(&f);
    world.now += PoolLimits::default().age;
    assert!(world.over(busy), "too old");
}

#[derive(Debug, Clone)]
enum Step {
    Place(usize, bool),
    Over(usize),
    Lost(usize),
    Sweep(u64),
    Evict,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_usize..3, any::<bool>()).prop_map(|(which, wait)| Step::Place(which, wait)),
        3 => (0_usize..8).prop_map(Step::Over),
        1 => (0_usize..8).prop_map(Step::Lost),
        1 => (0_u64..2000).prop_map(Step::Sweep),
        1 => Just(Step::Evict),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    /// No environment runs two invocations or one after it was retired, and what is counted is what runs.
    #[test]
    fn one_at_a_time(steps in steps()) {
        let mut world = World::new();
        let versions: Vec<_> = ["a", "b", "a"].iter().enumerate().map(|(place, name)| {
            let mut version = version(name);
            version.timeout = Duration::from_secs(place as u64 + 1);
            version.reserved_concurrency = (*name == "a").then_some(3);
            Arc::new(version)
        }).collect();
        let mut busy: Vec<EnvironmentId> = Vec::new();
        let mut retired: HashSet<EnvironmentId> = HashSet::new();
        for step in steps {
            match step {
                Step::Place(which, may_wait) => {
                    let id = EnvironmentId::random();
                    let (decision, gone) = world.pool.place(&versions[which], id, may_wait, world.now);
                    for id in gone {
                        prop_assert!(!busy.contains(&id) && retired.insert(id));
                    }
                    if let Decision::Reuse(id) | Decision::Start(id) = decision {
                        prop_assert!(!busy.contains(&id) && !retired.contains(&id));
                        busy.push(id);
                    }
                }
                Step::Over(place) if place < busy.len() => {
                    let id = busy.remove(place);
                    if world.over(id) {
                        prop_assert!(retired.insert(id));
                    }
                }
                Step::Lost(place) if place < busy.len() => world.pool.finished(busy.remove(place)),
                Step::Sweep(seconds) => {
                    world.now += Duration::from_secs(seconds);
                    for id in world.pool.sweep(world.now) {
                        prop_assert!(!busy.contains(&id) && retired.insert(id));
                    }
                }
                Step::Evict => {
                    if let Some(id) = world.pool.evict() {
                        prop_assert!(!busy.contains(&id) && retired.insert(id));
                    }
                }
                Step::Over(_) | Step::Lost(_) => {}
            }
            prop_assert_eq!(world.pool.admission.running() as usize, busy.len());
        }
    }
}
