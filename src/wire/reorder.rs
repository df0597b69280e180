//! Puts packets that came by UDP back in order. Bounded: a gap that does not close is given up.

/// Packets held behind a gap.
const HELD_MAX: usize = 64;

/// The order of one sender's packets.
#[derive(Debug, Default)]
pub struct Reorder {
    next: Option<u16>,
    /// Behind the gap, by distance from `next`.
    held: Vec<(u16, Box<[u8]>)>,
}

impl Reorder {
    /// Takes a packet and gives what is in order now, each packet once; late ones are thrown away.
    pub fn push(&mut self, sequence: u16, packet: &[u8], mut give: impl FnMut(&[u8])) {
        let next = *self.next.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(next);
        if ahead >= 0x8000 {
            return;
        }
        if ahead == 0 {
            give(packet);
            self.next = Some(next.wrapping_add(1));
            return self.give_held(give);
        }
        let distance = |held: u16| held.wrapping_sub(next);
        let place = self.held.partition_point(|(h, _)| distance(*h) < ahead);
        if self.held.get(place).is_some_and(|(h, _)| *h == sequence) {
            return;
        }
        self.held.insert(place, (sequence, packet.into()));
        if self.held.len() > HELD_MAX {
            self.next = self.held.first().map(|(first, _)| *first);
            self.give_held(give);
        }
    }

    /// The first packets that are missing, while later ones wait: one, and a bit for each of the 16
    /// behind it.
    pub fn missing(&self) -> Option<(u16, u16)> {
        let first = self.next.filter(|_| !self.held.is_empty())?;
        let last = self.held.last().map_or(0, |(h, _)| h.wrapping_sub(first));
        let is_lost = |offset: u16| {
            offset <= last
                && !self
                    .held
                    .iter()
                    .any(|(h, _)| h.wrapping_sub(first) == offset)
        };
        let following = (1..=16u16)
            .filter(|offset| is_lost(*offset))
            .fold(0, |bits, offset| bits | 1 << (offset - 1));
        Some((first, following))
    }

    fn give_held(&mut self, mut give: impl FnMut(&[u8])) {
        let mut given = 0;
        for (sequence, packet) in &self.held {
            if self.next != Some(*sequence) {
                break;
            }
            give(packet);
            self.next = Some(sequence.wrapping_add(1));
            given += 1;
        }
        self.held.drain(..given);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(arrivals: &[u16]) -> (Vec<u16>, Reorder) {
        let mut reorder = Reorder::default();
        let mut given = vec![];
        for sequence in arrivals {
            reorder.push(*sequence, &sequence.to_be_bytes(), |packet| {
                given.push(u16::from_be_bytes(packet.try_into().unwrap()));
            });
        }
        (given, reorder)
    }

    #[test]
    fn packets_come_out_in_order_and_once() {
        let (given, reorder) = order(&[65_534, 1, 65_535, 65_535, 1, 0, 65_533, 2]);
        assert_eq!(given, [65_534, 65_535, 0, 1, 2]);
        assert_eq!(reorder.missing(), None);
    }

    #[test]
    fn what_is_missing_can_be_asked_for() {
        let (given, reorder) = order(&[10, 12, 15, 40]);
        assert_eq!(given, [10]);
        // 11, then 13, 14, 16 to 27.
        assert_eq!(reorder.missing(), Some((11, 0b1111_1111_1111_0110)));
    }

    #[test]
    fn a_gap_that_stays_is_given_up() {
        let lost: Vec<u16> = (0..200).filter(|i| *i != 100).collect();
        let (given, reorder) = order(&lost);
        assert_eq!(given, lost);
        assert!(reorder.held.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn bounded_and_rising(arrivals in proptest::collection::vec(proptest::prelude::any::<u16>(), 0..400)) {
            let (given, reorder) = order(&arrivals);
            proptest::prop_assert!(reorder.held.len() <= HELD_MAX);
            let _ = reorder.missing();
            for pair in given.windows(2) {
                proptest::prop_assert!(pair[1].wrapping_sub(pair[0]) < 0x8000);
                proptest::prop_assert_ne!(pair[1], pair[0]);
            }
        }
    }
}
