//! Which mode follows from the rows: a pure function, computed from scratch at every look.
//!
//! EMERGENCY when a component that the system cannot do without has failed, or the last member of a group
//! has; DEGRADED when anything else is not well; NORMAL otherwise. No memory, no clock: confirmation and
//! dwell are not here.

use super::{
    Mode, Reason,
    board::{Concern, Health, Row},
};

/// The mode of these rows, and the reasons, most important first.
pub fn judge(rows: &[Row]) -> (Mode, Vec<Reason>) {
    let mut unwell: Vec<&Row> = rows.iter().filter(|row| row.health != Health::Ok).collect();
    let mode = unwell.iter().map(|row| severity(row, rows)).max().unwrap_or(Mode::Normal);
    unwell.sort_by_key(|row| (std::cmp::Reverse(row.health), row.since));
    (mode, unwell.into_iter().map(reason).collect())
}

fn severity(row: &Row, rows: &[Row]) -> Mode {
    let fatal = match row.concern {
        Concern::Own => row.health == Health::Failed,
        Concern::OneOf(_) => {
            rows.iter().filter(|r| r.concern == row.concern).all(|r| r.health == Health::Failed)
        }
    };
    if fatal { Mode::Emergency } else { Mode::Degraded }
}

fn reason(row: &Row) -> Reason {
    Reason {
        component: row.component.clone(),
        cause: row.cause,
        text: row.text.clone(),
        since_unix_ms: row.since.as_millis() as u64,
        expected_until_unix_ms: row.expected_until.map(|at| at.as_millis() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn row(name: &str, concern: Concern, health: Health) -> Row {
        Row {
            component: name.into(),
            cause: "test",
            concern,
            health,
            text: format!("{name} is {health:?}").into(),
            since: Duration::from_secs(1),
            expected_until: None,
        }
    }

    const GROUP: Concern = Concern::OneOf("providers");

    #[test]
    fn one_of_three_providers_out_is_no_emergency_but_the_last_one_is() {
        let rows = |healths: [Health; 3]| healths.map(|h| row("p", GROUP, h));
        use Health::{Failed, Ok};
        assert_eq!(judge(&rows([Ok, Ok, Ok])).0, Mode::Normal);
        assert_eq!(judge(&rows([Failed, Ok, Ok])).0, Mode::Degraded); // MO9
        assert_eq!(judge(&rows([Failed, Failed, Ok])).0, Mode::Degraded);
        assert_eq!(judge(&rows([Failed, Failed, Failed])).0, Mode::Emergency);
    }

    #[test]
    fn a_member_that_limps_keeps_its_group_out_of_an_emergency() {
        let rows = [row("a", GROUP, Health::Failed), row("b", GROUP, Health::Degraded)];
        assert_eq!(judge(&rows).0, Mode::Degraded);
    }

    #[test]
    fn failures_come_before_what_is_merely_degraded() {
        let rows = [row("a", Concern::Own, Health::Degraded), row("b", GROUP, Health::Failed)];
        let names: Vec<_> = judge(&rows).1.into_iter().map(|r| r.component).collect();
        assert_eq!(names, ["b".into(), "a".into()]);
    }

    fn health() -> impl Strategy<Value = Health> {
        prop_oneof![Just(Health::Ok), Just(Health::Degraded), Just(Health::Failed)]
    }

    proptest! {
        #[test]
        fn nothing_unwell_is_hidden_and_normal_means_all_is_well(
            own in prop::collection::vec(health(), 0..5),
            group in prop::collection::vec(health(), 0..5),
        ) {
            let own = own.into_iter().map(|h| row("own", Concern::Own, h));
            let rows: Vec<_> = own.chain(group.into_iter().map(|h| row("group", GROUP, h))).collect();
            let (mode, reasons) = judge(&rows);
            let unwell = rows.iter().filter(|r| r.health != Health::Ok).count();
            prop_assert_eq!(reasons.len(), unwell);
            prop_assert_eq!(mode == Mode::Normal, unwell == 0);
        }
    }
}
