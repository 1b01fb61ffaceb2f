//! Is there an order of the operations, each at some moment between its call and its answer, in which one after the other
//! gives just these answers (linearizability)? The search of Wing and Gong, with the memory of Lowe: what was tried once in
//! the same state with the same operations done is not tried again.

use std::{collections::HashSet, hash::Hash};

/// What is known of a thing that does one operation after the other.
pub(crate) trait Rules {
    /// The thing between two operations. Equal states behave the same for ever.
    type State: Clone + Eq + Hash;
    /// What can be asked of it.
    type Operation;
    /// What it can answer.
    type Answer;

    /// The states in which the operation `number` may leave it when it gives this answer; none when it would never give it.
    /// Without an answer: nobody knows what was answered.
    fn carry_out(
        &self,
        state: &Self::State,
        number: usize,
        operation: &Self::Operation,
        answer: Option<&Self::Answer>,
    ) -> Vec<Self::State>;

    /// The states to which work that an operation has left behind may lead by its next step. `overlap` says of two operations whether both
    /// were under way at some moment.
    fn go_on(&self, state: &Self::State, overlap: &dyn Fn(usize, usize) -> bool) -> Vec<Self::State>;

    /// Whether the operation `number`, which was carried out, has left work behind that belongs before its answer.
    fn is_at_work(&self, state: &Self::State, number: usize) -> bool;
}

/// One operation as its client saw it. Times are numbers of a counter that all clients share.
#[derive(Clone, Debug)]
pub(crate) struct Call<O, A> {
    /// What was asked.
    pub(crate) operation: O,
    /// Before it was sent.
    pub(crate) called: u64,
    /// After it was answered, and what. `None`: it was or was not carried out, at whatever time.
    pub(crate) answered: Option<(u64, A)>,
}

impl<O, A> Call<O, A> {
    fn end(&self) -> u64 {
        self.answered.as_ref().map_or(u64::MAX, |(at, _)| *at)
    }
}

/// The most operations of one history.
pub(crate) const MOST_CALLS: usize = 64;

/// An order of (the numbers of) the operations that explains all answers; `None` when there is none.
///
/// # Panics
/// When there are more operations than [`MOST_CALLS`].
pub(crate) fn explain<R: Rules>(
    rules: &R,
    begin: &R::State,
    history: &[Call<R::Operation, R::Answer>],
) -> Option<Vec<usize>> {
    assert!(history.len() <= MOST_CALLS, "{} operations are too many to look at", history.len());
    let mut search = Search { rules, history, tried: HashSet::new(), order: Vec::new() };
    search.from(0, begin).then_some(search.order)
}

struct Search<'a, R: Rules> {
    rules: &'a R,
    history: &'a [Call<R::Operation, R::Answer>],
    tried: HashSet<(u64, R::State)>,
    order: Vec<usize>,
}

impl<R: Rules> Search<'_, R> {
    /// Whether the operations that are not in the set `done` can follow on `state`.
    fn from(&mut self, done: u64, state: &R::State) -> bool {
        let waiting: Vec<usize> = (0..self.history.len()).filter(|number| done >> number & 1 == 0).collect();
        let at_work = |number: &usize| done >> number & 1 == 1 && self.rules.is_at_work(state, *number);
        let working: Vec<usize> = (0..self.history.len()).filter(at_work).collect();
        let is_known = |number: &&usize| self.history[**number].answered.is_some();
        if waiting.iter().chain(&working).filter(is_known).count() == 0 {
            return true;
        }
        if !self.tried.insert((done, state.clone())) {
            return false;
        }
        // What was called after somebody's answer comes after him.
        let first_answer = waiting.iter().chain(&working).map(|number| self.history[*number].end()).min();
        for number in waiting {
            let call = &self.history[number];
            if first_answer.is_some_and(|answered| answered < call.called) {
                continue;
            }
            let answer = call.answered.as_ref().map(|(_, answer)| answer);
            for next in self.rules.carry_out(state, number, &call.operation, answer) {
                self.order.push(number);
                if self.from(done | 1 << number, &next) {
                    return true;
                }
                self.order.pop();
            }
        }
        let overlap = |one: usize, other: usize| {
            let (one, other) = (&self.history[one], &self.history[other]);
            one.called < other.end() && other.called < one.end()
        };
        self.rules.go_on(state, &overlap).iter().any(|next| self.from(done, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that can be read, written and taken away.
    struct Register;

    #[derive(Clone, Copy, Debug)]
    enum Do {
        Write(u8),
        Read,
        Delete,
    }

    type Seen = Option<u8>;

    impl Rules for Register {
        type State = Option<u8>;
        type Operation = Do;
        type Answer = Seen;

        fn carry_out(&self, state: &Seen, _: usize, operation: &Do, answer: Option<&Seen>) -> Vec<Seen> {
            match operation {
                Do::Write(value) => vec![Some(*value)],
                Do::Delete => vec![None],
                Do::Read if answer.is_none_or(|seen| seen == state) => vec![*state],
                Do::Read => Vec::new(),
            }
        }

        fn go_on(&self, _: &Seen, _: &dyn Fn(usize, usize) -> bool) -> Vec<Seen> {
            Vec::new()
        }

        fn is_at_work(&self, _: &Seen, _: usize) -> bool {
            false
        }
    }

    fn is_explained(calls: &[(u64, u64, Do, Seen)]) -> bool {
        let history: Vec<_> = calls
            .iter()
            .map(|(called, answered, operation, seen)| Call {
                operation: *operation,
                called: *called,
                answered: (*answered > 0).then_some((*answered, *seen)),
            })
            .collect();
        explain(&Register, &None, &history).is_some()
    }

    #[test]
    fn what_overlaps_may_come_in_either_order() {
        for seen in [Some(1), Some(2)] {
            assert!(is_explained(&[(1, 4, Do::Write(1), None), (2, 3, Do::Write(2), None), (5, 6, Do::Read, seen)]));
        }
        assert!(is_explained(&[(1, 4, Do::Write(1), None), (2, 3, Do::Read, None), (5, 6, Do::Read, Some(1))]));
    }

    #[test]
    fn a_lost_update_is_found() {
        let calls = [(1, 2, Do::Write(1), None), (3, 4, Do::Write(2), None), (5, 6, Do::Read, Some(1))];
        assert!(!is_explained(&calls));
    }

    #[test]
    fn a_stale_read_is_found() {
        let calls = [(1, 2, Do::Write(1), None), (3, 4, Do::Read, None)];
        assert!(!is_explained(&calls));
        // Two readers beside one writer: whoever comes after the one that saw the new value sees it too.
        let calls = [(1, 10, Do::Write(1), None), (2, 3, Do::Read, Some(1)), (4, 5, Do::Read, None)];
        assert!(!is_explained(&calls));
    }

    #[test]
    fn a_resurrection_is_found() {
        let calls =
            [(1, 2, Do::Write(1), None), (3, 4, Do::Delete, None), (5, 6, Do::Read, None), (7, 8, Do::Read, Some(1))];
        assert!(!is_explained(&calls));
    }

    #[test]
    fn what_was_not_answered_may_have_happened_at_any_time_or_never() {
        let unanswered = (1, 0, Do::Write(7), None);
        assert!(is_explained(&[unanswered, (2, 3, Do::Read, None), (4, 5, Do::Read, Some(7))]));
        assert!(is_explained(&[unanswered, (2, 3, Do::Read, None), (4, 5, Do::Read, None)]));
        assert!(!is_explained(&[unanswered, (2, 3, Do::Read, Some(7)), (4, 5, Do::Read, None)]));
    }
}
