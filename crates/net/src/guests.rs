//! Connections of those who have not proved anything yet: few at a time, the oldest goes first.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// How many there may be at once.
const MAX: usize = 64;

/// How many of them from one address.
const MAX_PER_SOURCE: usize = 48;

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    seats: VecDeque<(u64, Option<IpAddr>, CancellationToken)>,
}

/// The seats for guests. A connection leaves its seat when it has proved itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guests(Arc<Mutex<Inner>>);

/// The seat of one guest; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    guests: Guests,
    number: u64,
    evicted: CancellationToken,
}

impl Guests {
    /// Takes a seat for a guest from `source`; when there is none left, the oldest guest (of the same source, if
    /// that is the one with too many) loses his.
    pub(crate) fn enter(&self, source: Option<IpAddr>) -> Seat {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_source = inner.seats.iter().filter(|seat| seat.1 == source).count();
        let victim = if of_source >= MAX_PER_SOURCE {
            inner.seats.iter().position(|seat| seat.1 == source)
        } else if inner.seats.len() >= MAX {
            Some(0)
        } else {
            None
        };
        if let Some((.., evicted)) = victim.and_then(|index| inner.seats.remove(index)) {
            evicted.cancel();
        }
        let number = inner.next;
        inner.next += 1;
        let evicted = CancellationToken::new();
        inner.seats.push_back((number, source, evicted.clone()));
        Seat { guests: self.clone(), number, evicted }
    }

    /// Whether so many are seated that a newcomer must show first that he can be answered.
    pub(crate) fn crowded(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).seats.len() >= MAX / 2
    }
}

impl Seat {
    /// Ends when the seat is taken away.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.seats.retain(|seat| seat.0 != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)));
    const B: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)));

    #[test]
    fn a_crowd_from_one_address_pushes_out_its_own() {
        let guests = Guests::default();
        let good = guests.enter(B);
        let crowd: Vec<Seat> = (0..200).map(|_| guests.enter(A)).collect();
        assert!(!good.evicted.is_cancelled());
        assert_eq!(crowd.iter().filter(|seat| !seat.evicted.is_cancelled()).count(), MAX_PER_SOURCE);
        assert!(crowd[0].evicted.is_cancelled() && !crowd[199].evicted.is_cancelled());
        drop(crowd);
        assert!(!guests.crowded());
    }

    #[test]
    fn there_are_never_more_than_the_seats() {
        let guests = Guests::default();
        let all: Vec<Seat> = (0..200).map(|n| guests.enter(Some(IpAddr::V4(std::net::Ipv4Addr::from(n % 100))))).collect();
        assert_eq!(all.iter().filter(|seat| !seat.evicted.is_cancelled()).count(), MAX);
    }
}
