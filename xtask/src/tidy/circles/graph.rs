//! The graph of files and their imports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A file of a crate.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// The path of its module from the crate's root.
    pub(super) module: Vec<String>,
    /// The files that it imports, with the names that it takes from each.
    pub(super) imports: BTreeMap<usize, BTreeSet<String>>,
}

/// The files of a crate.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) files: Vec<File>,
}

impl Graph {
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.files.len()).collect()
    }

    /// The circles among these files: the strongly connected components.
    pub(super) fn circles(&self, among: &[usize]) -> Vec<Vec<usize>> {
        let among: BTreeSet<_> = among.iter().copied().collect();
        let reach: BTreeMap<_, _> = among
            .iter()
            .map(|file| (*file, self.reached(*file, &among)))
            .collect();
        let mut circles = BTreeSet::new();
        for (file, reached) in &reach {
            let circle: Vec<_> = reached
                .iter()
                .copied()
                .filter(|other| reach[other].contains(file))
                .collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    /// The files that a file imports, directly or indirectly.
    fn reached(&self, start: usize, among: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut open = vec![start];
        while let Some(file) = open.pop() {
            for next in self.files[file].imports.keys() {
                if among.contains(next) && reached.insert(*next) {
                    open.push(*next);
                }
            }
        }
        reached
    }
}
