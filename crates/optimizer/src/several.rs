//! When a job goes to a worker that computes its video on several devices.
//!
//! Such a worker finishes a video sooner and makes it dearer: N devices for a bit more than an N-th of the time. With a backlog that is a
//! loss, since the same devices would finish more videos by themselves. So it pays where somebody pays for the time, or where the
//! devices would be idle.
//!
//! # The rule
//! It divides the jobs of a model whose workers have different numbers of devices (the ones with the fewest, and the ones with more):
//! 1. Premium jobs go to workers with more devices, up to their free slots.
//! 2. Further premium jobs wait for them as long as that is sooner than a free worker with few devices: as many as leave `wait + seconds
//!    on many <= seconds on few`, where slots become free evenly. All others go to any worker in the fair order.
//! 3. Jobs of other tiers go to workers with more devices only while the fleet is idle: when no more jobs wait than slots are free.
//!
//! Nothing starves: other tiers always have the workers with few devices, and a premium job waits only behind a number of jobs that is
//! bounded by its own gain. Where all live workers of a model have the same number of devices, there is nothing to divide.

use std::collections::BTreeMap;

use domain::{PoolId, Tier};

/// Numbers of devices that compute a video together, over the live workers of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Devices {
    /// The fewest.
    pub least: u32,
    /// The most.
    pub most: u32,
}

impl Devices {
    /// The fewest and the most of some numbers; `None` without any.
    #[must_use]
    pub fn over(numbers: impl IntoIterator<Item = u32>) -> Option<Self> {
        numbers.into_iter().fold(None, |seen: Option<Self>, devices| {
            let Self { least, most } = seen.unwrap_or(Self { least: devices, most: devices });
            Some(Self { least: least.min(devices), most: most.max(devices) })
        })
    }

    /// Those of the live workers of each model, by its id.
    #[must_use]
    pub fn by_model<'a>(live: impl IntoIterator<Item = &'a PoolId>) -> BTreeMap<String, Self> {
        let mut models: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for pool in live {
            models.entry(pool.model_id()).or_default().push(pool.devices());
        }
        models.into_iter().filter_map(|(id, numbers)| Some((id.to_owned(), Self::over(numbers)?))).collect()
    }

    /// The number that a job of this tier is planned for.
    #[must_use]
    pub fn of(self, tier: Tier) -> u32 {
        if tier == Tier::Premium { self.most } else { self.least }
    }
}

/// Workers of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kind {
    /// Their slots.
    pub slots: u32,
    /// Slots that no job uses or was released for.
    pub free: u32,
    /// Released jobs that wait for a slot to become free.
    pub queued: u32,
}

/// What a division depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fleet {
    /// Workers with the fewest devices.
    pub few: Kind,
    /// Workers with more.
    pub many: Kind,
    /// Premium jobs that wait to be released; may be counted up to a limit above all slots.
    pub premium: u32,
    /// Jobs of other tiers that wait.
    pub others: u32,
    /// Seconds of a premium job on few devices.
    pub few_s: f64,
    /// The same on many.
    pub many_s: f64,
}

/// Most jobs that a kind of workers is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Of the premium tier.
    pub premium: u32,
    /// Of the other tiers.
    pub others: u32,
}

/// What each kind of workers is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Division {
    /// Workers with the fewest devices.
    pub few: Part,
    /// Workers with more.
    pub many: Part,
}

const ALL: Part = Part { premium: u32::MAX, others: u32::MAX };
const NONE: Part = Part { premium: 0, others: 0 };

/// Divides the jobs by the rule at the top of the file.
#[must_use]
pub fn divide(fleet: &Fleet) -> Division {
    if fleet.many.slots == 0 {
        return Division { few: ALL, many: NONE };
    }
    if fleet.few.slots == 0 {
        return Division { few: NONE, many: ALL };
    }
    let idle = fleet.premium.saturating_add(fleet.others) <= fleet.few.free + fleet.many.free;
    let at_once = fleet.premium.min(fleet.many.free);
    let worth = worth_waiting(fleet);
    let waiting = fleet.many.queued + (fleet.premium - at_once);
    let many = Part {
        premium: fleet.many.free + worth.saturating_sub(fleet.many.queued),
        others: if idle { fleet.many.free - at_once } else { 0 },
    };
    Division { few: Part { premium: waiting.saturating_sub(worth), others: u32::MAX }, many }
}

/// How many premium jobs should wait for a worker with many devices while one with few could take them. The last of them waits for
/// `number - 1/2` slots to become free, one every `many_s / slots` seconds.
fn worth_waiting(fleet: &Fleet) -> u32 {
    let (few_s, many_s) = (fleet.few_s, fleet.many_s);
    if !(many_s > 0.0 && few_s.is_finite() && few_s > many_s) {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a saturating number of jobs")]
    let number = ((few_s - many_s) * f64::from(fleet.many.slots) / many_s + 0.5).floor() as u32;
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn kind(slots: u32, free: u32, queued: u32) -> Kind {
        Kind { slots, free, queued }
    }

    /// Two workers with four devices beside eight with one; a premium job takes 100 s on four and 330 s on one.
    fn fleet(premium: u32, others: u32, few_free: u32, many_free: u32) -> Fleet {
        let (few, many) = (kind(8, few_free, 0), kind(2, many_free, 0));
        Fleet { few, many, premium, others, few_s: 330.0, many_s: 100.0 }
    }

    #[test]
    fn one_kind_of_workers_takes_everything() {
        let only_few = Fleet { many: kind(0, 0, 0), ..fleet(50, 50, 8, 0) };
        assert_eq!(divide(&only_few), Division { few: ALL, many: NONE });
        let only_many = Fleet { few: kind(0, 0, 0), ..fleet(50, 50, 0, 2) };
        assert_eq!(divide(&only_many), Division { few: NONE, many: ALL });
    }

    #[test]
    fn premium_goes_to_many_devices_and_the_rest_to_few() {
        let busy = divide(&fleet(1, 100, 8, 2));
        assert_eq!(busy.many, Part { premium: 7, others: 0 });
        assert_eq!(busy.few, Part { premium: 0, others: u32::MAX });
    }

    #[test]
    fn an_idle_fleet_lends_many_devices_to_everybody_once_premium_is_served() {
        assert_eq!(divide(&fleet(0, 3, 8, 2)).many.others, 2);
        assert_eq!(divide(&fleet(1, 9, 8, 2)).many.others, 1);
        assert_eq!(divide(&fleet(1, 10, 8, 2)).many.others, 0, "more jobs than free slots");
        assert_eq!(divide(&fleet(0, 1, 0, 0)).many.others, 0, "nothing is free");
    }

    /// The fifth job would start after 4.5 slots became free, 50 s each: 225 s and 100 s on four devices are sooner than 330 s on
    /// one. The sixth would end after 375 s.
    #[test]
    fn premium_waits_for_many_devices_no_longer_than_that_saves() {
        assert_eq!(divide(&fleet(5, 100, 8, 0)).few.premium, 0);
        assert_eq!(divide(&fleet(6, 100, 8, 0)).few.premium, 1);
        let flood = divide(&fleet(1_000, 100, 8, 0));
        assert_eq!(flood.few, Part { premium: 995, others: u32::MAX });
        // Those that were released to wait there count.
        let queued = Fleet { many: kind(2, 0, 4), ..fleet(5, 0, 8, 0) };
        assert_eq!(divide(&queued).few.premium, 4);
        assert_eq!(divide(&queued).many.premium, 1);
    }

    #[test]
    fn devices_that_gain_nothing_are_not_waited_for() {
        for (few_s, many_s) in [(100.0, 100.0), (100.0, 140.0), (0.0, 0.0), (f64::NAN, 1.0), (f64::INFINITY, 1.0)] {
            let none = Fleet { few_s, many_s, ..fleet(3, 0, 8, 0) };
            assert_eq!(divide(&none).few.premium, 3);
            assert_eq!(divide(&none).many.premium, 0);
        }
    }

    #[test]
    fn a_tier_is_planned_for_the_devices_that_it_gets() {
        let devices = Devices::over([1, 4, 1, 2]).expect("some");
        assert_eq!(devices, Devices { least: 1, most: 4 });
        assert_eq!((devices.of(Tier::Premium), devices.of(Tier::Standard)), (4, 1));
        let pools = [
            PoolId::of_worker("a", 80 << 30),
            PoolId::of_devices("a", 80 << 30, 4),
            PoolId::of_devices("b", 80 << 30, 2),
        ];
        let models = Devices::by_model(&pools);
        assert_eq!((models["a"], models["b"]), (devices, Devices { least: 2, most: 2 }));
    }
}
