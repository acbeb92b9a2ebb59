//! Makes inputs out of those that are there.

/// Longest input: a body is run thousands of times.
const MAX_BYTES: usize = 8 << 10;

/// Changes of one input at most.
const MAX_CHANGES: u64 = 6;

/// Values that limits are often next to.
const EDGES: &[u8] = &[
    0, 1, 9, 10, 13, 31, 32, 63, 64, 127, 128, 191, 192, 254, 255,
];

pub(crate) struct Mutator<'a> {
    state: u64,
    corpus: &'a [Vec<u8>],
    words: &'a [&'a [u8]],
}

impl<'a> Mutator<'a> {
    pub(crate) fn new(beginning: u64, corpus: &'a [Vec<u8>], words: &'a [&'a [u8]]) -> Self {
        Self {
            state: beginning,
            corpus,
            words,
        }
    }

    /// The next input.
    pub(crate) fn input(&mut self) -> Vec<u8> {
        let mut input = self.seed();
        for _ in 0..=self.below(MAX_CHANGES) {
            self.change(&mut input);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn seed(&mut self) -> Vec<u8> {
        let index = self.below(self.corpus.len() as u64) as usize;
        self.corpus.get(index).cloned().unwrap_or_default()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.place(input);
        match self.below(8) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                let edge = EDGES[self.below(EDGES.len() as u64) as usize];
                if let Some(byte) = input.get_mut(at) {
                    *byte = edge;
                }
            }
            2 => input.insert(at, self.next() as u8),
            3 => {
                let end = self.end(input, at);
                input.drain(at..end);
            }
            4 => {
                let end = self.end(input, at);
                let doubled = input[at..end].to_vec();
                let times = 1 + self.below(3);
                for _ in 0..times {
                    input.splice(at..at, doubled.iter().copied());
                }
            }
            5 => {
                let other = self.seed();
                let from = self.place(&other);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len() as u64) as usize];
                input.splice(at..at, word.iter().copied());
            }
            _ => input.truncate(at),
        }
    }

    /// A place in the input, or its end.
    fn place(&mut self, input: &[u8]) -> usize {
        self.below(input.len() as u64 + 1) as usize
    }

    /// A place behind that one, mostly near.
    fn end(&mut self, input: &[u8], at: usize) -> usize {
        let most = if self.below(4) == 0 { 512 } else { 16 };
        (at + self.below(most) as usize).min(input.len())
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Xorshift: no state is zero that did not begin so.
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}
