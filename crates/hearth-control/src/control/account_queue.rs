//! A queue that is fair between accounts: round-robin over the accounts, first come first served within one.

use std::collections::{HashMap, VecDeque};

use crate::id::AccountId;

/// The waiting items, by account.
#[derive(Debug)]
pub(super) struct AccountQueue<T> {
    /// Accounts with waiting items, the next one first.
    order: VecDeque<AccountId>,
    waiting: HashMap<AccountId, VecDeque<T>>,
}

impl<T> Default for AccountQueue<T> {
    fn default() -> Self {
        Self {
            order: VecDeque::new(),
            waiting: HashMap::new(),
        }
    }
}

impl<T> AccountQueue<T> {
    /// Adds an item at the end of its account's queue.
    pub(super) fn push(&mut self, account: AccountId, item: T) {
        let line = self.waiting.entry(account).or_default();
        if line.is_empty() {
            self.order.push_back(account);
        }
        line.push_back(item);
    }

    /// Takes out the next admitted item. Its account then goes behind all others. Accounts whose first item is not
    /// admitted keep their place.
    pub(super) fn next(
        &mut self,
        is_admitted: impl Fn(AccountId, &T) -> bool,
    ) -> Option<(AccountId, T)> {
        let has_turn = |account: &AccountId| {
            let first = self.waiting.get(account).and_then(VecDeque::front);
            first.is_some_and(|first| is_admitted(*account, first))
        };
        let account = self.order.iter().position(has_turn)?;
        let account = self.order.remove(account)?;
        let line = self.waiting.get_mut(&account)?;
        let item = line.pop_front()?;
        if line.is_empty() {
            self.waiting.remove(&account);
        } else {
            self.order.push_back(account);
        }
        Some((account, item))
    }

    /// Calls `tell` for each waiting item with its place in the line of its account, from one, and how long the line is.
    pub(super) fn for_each_place(&self, tell: impl Fn(&T, usize, usize)) {
        for line in self.waiting.values() {
            for (item, place) in line.iter().zip(1..) {
                tell(item, place, line.len());
            }
        }
    }

    /// Removes the items that no longer wait.
    pub(super) fn retain(&mut self, is_waiting: impl Fn(&T) -> bool) {
        self.waiting.retain(|_, line| {
            line.retain(&is_waiting);
            !line.is_empty()
        });
        self.order
            .retain(|account| self.waiting.contains_key(account));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u64) -> AccountId {
        AccountId::from_number(number).unwrap()
    }

    #[test]
    fn accounts_take_turns_and_their_own_keep_their_order() {
        let mut queue = AccountQueue::default();
        for (number, item) in [(0, 'a'), (0, 'b'), (0, 'c'), (1, 'd'), (2, 'e'), (1, 'f')] {
            queue.push(account(number), item);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.next(|_, _| true)).collect();
        let order: String = order.into_iter().map(|(_, item)| item).collect();
        assert_eq!(order, "adebfc");
    }

    #[test]
    fn who_is_not_admitted_keeps_its_turn() {
        let mut queue = AccountQueue::default();
        for (number, item) in [(0, 'a'), (1, 'b'), (1, 'c')] {
            queue.push(account(number), item);
        }
        let not_first = |next: AccountId, _: &char| next != account(0);
        assert_eq!(queue.next(not_first), Some((account(1), 'b')));
        assert_eq!(queue.next(|_, _| true), Some((account(0), 'a')));
        let told = std::cell::RefCell::new(Vec::new());
        queue.push(account(1), 'd');
        queue.for_each_place(|item, place, of| told.borrow_mut().push((*item, place, of)));
        assert_eq!(*told.borrow(), [('c', 1, 2), ('d', 2, 2)]);
        queue.retain(|item| !"cd".contains(*item));
        assert_eq!(queue.next(|_, _| true), None);
    }
}
