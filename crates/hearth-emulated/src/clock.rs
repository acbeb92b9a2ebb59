//! The frequency of this machine's time stamp counter.
//!
//! QEMU's TCG passes the host's counter to the guest unchanged. The microvm machine has no device against which the
//! guest's kernel could calibrate the counter, so the kernel gets the frequency on its command line
//! (`tsc_early_khz=`). With the right value the guest's clock runs at exactly the host's rate.

/// Frequency of the counter in kHz, from the text of `/proc/cpuinfo`.
///
/// `bogomips` is twice the counter's frequency in MHz if the kernel uses the counter for its delay loops, whatever
/// the present clock of the core is. `cpu MHz` has one digit more. But it is the counter's frequency only where
/// frequency scaling is invisible (virtual machines), so it is used only where both agree.
pub fn tsc_khz(cpuinfo: &str) -> Option<u32> {
    let field = |name: &str| -> Option<f64> {
        cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .and_then(|(_, value)| value.trim().parse().ok())
    };
    let from_bogomips_khz = field("bogomips")? * 500.0;
    let shown_khz = field("cpu MHz").unwrap_or(0.0) * 1000.0;
    // `bogomips` is rounded to 0.01, that is 5 kHz.
    let khz = if (shown_khz - from_bogomips_khz).abs() <= 10.0 {
        shown_khz
    } else {
        from_bogomips_khz
    };
    // Anything outside says that the fields mean something else here.
    (200_000.0..20_000_000.0)
        .contains(&khz)
        .then(|| khz.round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_machine_shows_the_exact_frequency() {
        let text = "processor\t: 0\ncpu MHz\t\t: 2596.104\nbogomips\t: 5192.20\n";
        assert_eq!(tsc_khz(text), Some(2_596_104));
    }

    #[test]
    fn frequency_scaling_does_not_count() {
        let text = "cpu MHz\t\t: 800.012\nbogomips\t: 5199.98\n";
        assert_eq!(tsc_khz(text), Some(2_599_990));
    }

    #[test]
    fn nonsense_is_no_frequency() {
        assert_eq!(tsc_khz("bogomips : 3.20"), None);
        assert_eq!(tsc_khz(""), None);
    }
}
