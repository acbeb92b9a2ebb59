use proptest::prelude::*;

use super::*;

const NOON: Timestamp = Timestamp::from_unix_ms(1_795_000_000_000);

fn take(throttle: &Throttle, rate: Rate, now: Timestamp) -> Result<(), Duration> {
    throttle.take(AccountId::FIRST, rate, 1, &Quotas::default(), now)
}

#[test]
fn a_burst_of_one_second_passes_and_no_more() {
    let throttle = Throttle::new(Rates::default());
    for _ in 0..5 {
        assert_eq!(take(&throttle, Rate::Run, NOON), Ok(()));
    }
    let wait = take(&throttle, Rate::Run, NOON).unwrap_err();
    assert_eq!(wait, Duration::from_millis(200));
    assert_eq!(take(&throttle, Rate::Run, NOON.after(wait)), Ok(()));
}

#[test]
fn accounts_and_operations_do_not_share() {
    let throttle = Throttle::new(Rates::default());
    for _ in 0..2 {
        assert_eq!(take(&throttle, Rate::Suspend, NOON), Ok(()));
    }
    assert!(take(&throttle, Rate::Suspend, NOON).is_err());
    assert_eq!(take(&throttle, Rate::Resume, NOON), Ok(()));
    let other = AccountId::from_number(1).unwrap();
    assert_eq!(
        throttle.take(other, Rate::Suspend, 1, &Quotas::default(), NOON),
        Ok(())
    );
}

/// A quota of one account says nothing of another's, and a burst is as large as it says.
#[test]
fn requests_are_limited_by_the_accounts_own_quota() {
    let throttle = Throttle::new(Rates::default());
    let quotas = Quotas {
        requests_per_second: 10,
        request_burst: 3,
        ..Quotas::default()
    };
    let other = AccountId::from_number(1).unwrap();
    let take = |now| throttle.take(other, Rate::Request, 1, &quotas, now);
    for _ in 0..3 {
        assert_eq!(take(NOON), Ok(()));
    }
    let wait = take(NOON).unwrap_err();
    assert_eq!(wait, Duration::from_millis(100));
    assert_eq!(take(NOON.after(wait)), Ok(()));
    let first = |_| self::take(&throttle, Rate::Request, NOON);
    assert_eq!((0..1000).map(first).filter(Result::is_ok).count(), 1000);
    assert!(first(0).is_err());
}

/// What is worth many calls is taken whole, and owed for; asking costs nothing.
#[test]
fn a_large_call_keeps_the_next_one_waiting() {
    let throttle = Throttle::new(Rates::unlimited().with(Rate::Get, 10));
    let take =
        |count, now| throttle.take(AccountId::FIRST, Rate::Get, count, &Quotas::default(), now);
    assert_eq!(take(25, NOON), Ok(()));
    let wait = Duration::from_millis(1600);
    assert_eq!(take(0, NOON), Err(wait));
    assert_eq!(take(1, NOON), Err(wait));
    let later = NOON.after(wait);
    for _ in 0..3 {
        assert_eq!(take(0, later), Ok(()));
    }
    assert_eq!(take(1, later), Ok(()));
    assert!(take(1, later).is_err());
}

proptest! {
    /// In any window, no more than the rate times the window plus one burst passes; and who waits as told, passes.
    #[test]
    fn the_rate_holds(per_second in 1_u32..200, steps_ms in prop::collection::vec(0_u64..300, 1..400)) {
        let throttle = Throttle::new(Rates::unlimited().with(Rate::Get, per_second));
        let (mut now, mut passed) = (NOON, 0_u64);
        for step_ms in steps_ms {
            now = now.after(Duration::from_millis(step_ms));
            match take(&throttle, Rate::Get, now) {
                Ok(()) => passed += 1,
                Err(wait) => {
                    let due = now.after(wait + Duration::from_millis(1));
                    prop_assert_eq!(take(&throttle, Rate::Get, due), Ok(()));
                    now = due;
                    passed += 1;
                }
            }
            let seconds = now.since(NOON).as_secs_f64();
            prop_assert!(passed as f64 <= (seconds + 1.0) * f64::from(per_second) + 1.0);
        }
    }
}
