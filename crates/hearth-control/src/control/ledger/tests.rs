use std::task::{Context, Poll, Waker};

use super::*;

const SMALL: MemoryTier = MemoryTier::Mib512;

/// Where nobody hears of the place.
fn untold() -> watch::Sender<Option<WaitingPlace>> {
    watch::channel(None).0
}

fn other() -> AccountId {
    AccountId::from_number(1).unwrap()
}

fn ledger(capacity: Capacity, accounts: usize) -> Arc<Ledger> {
    let ledger = Ledger::new(capacity);
    ledger.add_accounts(accounts);
    ledger
}

#[test]
fn shares_are_bounded_and_come_back() {
    let quotas = Quotas {
        memory_mib: 1024,
        ..Quotas::default()
    };
    let capacity = Capacity {
        resident_mib: 512,
        ..Capacity::default()
    };
    let ledger = ledger(capacity, 1);
    let allocate = || ledger.allocate(AccountId::FIRST, SMALL, &quotas);
    let (first, _second) = (allocate().unwrap(), allocate().unwrap());
    assert!(matches!(allocate(), Err(Refusal::MemoryQuota(_))));
    drop(first);
    assert!(allocate().is_ok());

    let resident = ledger.reside(AccountId::FIRST, SMALL).unwrap();
    assert!(ledger.reside(AccountId::FIRST, SMALL).is_none());
    let granted = ledger.grant_residency(AccountId::FIRST, SMALL);
    assert_eq!(ledger.totals_mib(), (512, 1024));
    drop((granted, resident));
    assert!(ledger.reside(AccountId::FIRST, SMALL).is_some());
}

#[test]
fn microvms_are_counted_for_each_account() {
    let quotas = Quotas {
        microvms: 1,
        ..Quotas::default()
    };
    let ledger = ledger(Capacity::default(), 2);
    let _first = ledger.allocate(AccountId::FIRST, SMALL, &quotas).unwrap();
    let second = ledger.allocate(AccountId::FIRST, SMALL, &quotas);
    assert!(matches!(second, Err(Refusal::MicrovmQuota { max: 1, .. })));
    assert!(ledger.allocate(other(), SMALL, &quotas).is_ok());
}

/// Security finding M8: one account takes all of the host's memory.
#[test]
fn no_account_takes_the_last_memory_from_one_that_has_none() {
    let capacity = Capacity {
        resident_mib: 4096,
        ..Capacity::default()
    };
    let ledger = ledger(capacity, 2);
    let reside = |account| ledger.reside(account, SMALL);
    let greedy: Vec<_> = std::iter::from_fn(|| reside(AccountId::FIRST)).collect();
    // A quarter is left.
    assert_eq!(greedy.len(), 6);
    let _late = reside(other()).unwrap();
    // Everybody holds some now, so the rest is anybody's.
    assert!(reside(AccountId::FIRST).is_some());
}

/// Polls once what waits for a place.
macro_rules! poll {
    ($place:expr) => {
        $place
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    };
}

/// Security finding M8: builds of one account, each up to two hours, hold all places.
#[test]
fn builds_of_accounts_take_turns() {
    let capacity = Capacity {
        concurrent_builds: 1,
        ..Capacity::default()
    };
    let ledger = ledger(capacity, 2);
    let wait = |account| ledger.build_place(account, SMALL, untold());
    let mut first = Box::pin(wait(AccountId::FIRST));
    let mut second = Box::pin(wait(AccountId::FIRST));
    let Poll::Ready(place) = poll!(first) else {
        panic!("the host has a place");
    };
    assert!(poll!(second).is_pending());
    let mut third = Box::pin(wait(AccountId::FIRST));
    let mut of_other = Box::pin(wait(other()));
    assert!(poll!(third).is_pending() && poll!(of_other).is_pending());
    drop(place);
    // The second waited longest, then it is the other account's turn.
    let Poll::Ready(place) = poll!(second) else {
        panic!("a place is free");
    };
    drop(place);
    assert!(poll!(third).is_pending());
    assert!(poll!(of_other).is_ready());
}

/// Security finding M8: the last place is not for an account that builds already.
#[test]
fn the_last_place_is_for_an_account_that_builds_nothing() {
    let ledger = ledger(Capacity::default(), 2);
    let wait = |account| ledger.build_place(account, SMALL, untold());
    let mut first = Box::pin(wait(AccountId::FIRST));
    let mut second = Box::pin(wait(AccountId::FIRST));
    let first = poll!(first);
    assert!(first.is_ready());
    assert!(poll!(second).is_pending());
    let mut of_other = Box::pin(wait(other()));
    let of_other = poll!(of_other);
    assert!(of_other.is_ready());
    drop(first);
    assert!(poll!(second).is_ready());
}

/// Security finding H7: builders and the boots of builds were in no ledger.
#[test]
fn builds_count_as_memory_and_wait_for_it() {
    let capacity = Capacity {
        resident_mib: 4096,
        builder_mib: 2048,
        ..Capacity::default()
    };
    let ledger = ledger(capacity, 1);
    let mut first = Box::pin(ledger.build_place(AccountId::FIRST, SMALL, untold()));
    let first = poll!(first);
    assert!(first.is_ready());
    assert_eq!(ledger.totals_mib(), (0, 2048));
    let resident = ledger.reside(AccountId::FIRST, SMALL).unwrap();
    let mut second = Box::pin(ledger.build_place(AccountId::FIRST, SMALL, untold()));
    assert!(poll!(second).is_pending());
    drop(resident);
    assert!(poll!(second).is_ready());
}

/// A build that was given up while it waited keeps no place.
#[test]
fn a_place_of_nobody_is_free() {
    let capacity = Capacity {
        concurrent_builds: 1,
        ..Capacity::default()
    };
    let ledger = ledger(capacity, 1);
    let mut first = Box::pin(ledger.build_place(AccountId::FIRST, SMALL, untold()));
    let mut second = Box::pin(ledger.build_place(AccountId::FIRST, SMALL, untold()));
    let place = poll!(first);
    assert!(poll!(second).is_pending());
    drop(second);
    drop(place);
    assert_eq!(ledger.totals_mib(), (0, 0));
    let mut third = Box::pin(ledger.build_place(AccountId::FIRST, SMALL, untold()));
    assert!(poll!(third).is_ready());
}

/// Who waits is told the place, and again when it changes; builds of other accounts are not counted.
#[test]
fn a_build_that_waits_is_told_its_place() {
    let capacity = Capacity {
        concurrent_builds: 1,
        ..Capacity::default()
    };
    let ledger = ledger(capacity, 2);
    let (first, first_told) = watch::channel(None);
    let (second, _second_told) = watch::channel(None);
    let (third, third_told) = watch::channel(None);
    let mut begun = Box::pin(ledger.build_place(other(), SMALL, untold()));
    let begun = poll!(begun);
    let mut of_other = Box::pin(ledger.build_place(other(), SMALL, untold()));
    let mut first = Box::pin(ledger.build_place(AccountId::FIRST, SMALL, first));
    let mut second = Box::pin(ledger.build_place(AccountId::FIRST, SMALL, second));
    let mut third = Box::pin(ledger.build_place(AccountId::FIRST, SMALL, third));
    for waiting in [&mut of_other, &mut first, &mut second, &mut third] {
        assert!(poll!(waiting).is_pending());
    }
    let place = |place, of| Some(WaitingPlace { place, of });
    assert_eq!(*first_told.borrow(), place(1, 3));
    assert_eq!(*third_told.borrow(), place(3, 3));
    drop(second);
    drop(begun);
    // The other account's second build was first, and the one that was given up is counted no more.
    let of_other = poll!(of_other);
    assert!(of_other.is_ready());
    assert_eq!(*third_told.borrow(), place(2, 2));
}
