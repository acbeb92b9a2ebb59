//! The modules of a crate, and the resolution of names in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::visit::Visit;
use syn::{Attribute, Item, ItemMod, UseTree};

use super::graph::{File, Graph};

/// How many re-exports are followed for one name.
const MAX_STEPS: usize = 32;

/// A module.
#[derive(Debug, Default)]
struct Module {
    path: Vec<String>,
    /// The file that contains it: an index of [`Tree::files`].
    file: usize,
    children: BTreeMap<String, usize>,
    /// The names of the items that are defined here.
    items: BTreeSet<String>,
    /// Imports by `use`: the local name, and the path as it was written.
    imported: BTreeMap<String, Vec<String>>,
    /// Paths of `use path::*`.
    globs: Vec<Vec<String>>,
    /// Paths of more than one segment in code.
    mentioned: BTreeSet<Vec<String>>,
}

/// All modules of a crate; the first one is its root.
#[derive(Debug, Default)]
pub(super) struct Tree {
    modules: Vec<Module>,
    files: Vec<(PathBuf, Vec<String>)>,
}

impl Tree {
    /// Reads a crate from its root file on.
    pub(super) fn load(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        let directory = root.parent().context("a crate's root has no directory")?;
        tree.read_file(root, directory, &[])?;
        Ok(tree)
    }

    fn read_file(&mut self, path: &Path, children: &Path, module: &[String]) -> Result<usize> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let parsed =
            syn::parse_file(&text).with_context(|| format!("cannot parse {}", path.display()))?;
        let file = self.files.len();
        self.files.push((path.to_owned(), module.to_vec()));
        self.read_items(&parsed.items, file, children, module)
    }

    /// Reads a module; `children` is where the files of its children are.
    fn read_items(
        &mut self,
        items: &[Item],
        file: usize,
        children: &Path,
        path: &[String],
    ) -> Result<usize> {
        let index = self.modules.len();
        self.modules.push(Module {
            path: path.to_vec(),
            file,
            ..Module::default()
        });
        for item in items {
            match item {
                _ if is_of_tests(attributes(item)) => {}
                Item::Mod(inner) => {
                    let name = inner.ident.to_string();
                    let child = self.read_module(inner, file, children, path)?;
                    self.modules[index].children.insert(name, child);
                }
                Item::Use(item) => self.modules[index].import(&item.tree, &mut Vec::new()),
                other => {
                    let module = &mut self.modules[index];
                    module.items.extend(name_of(other));
                    Mentions(&mut module.mentioned).visit_item(other);
                }
            }
        }
        Ok(index)
    }

    fn read_module(
        &mut self,
        item: &ItemMod,
        file: usize,
        children: &Path,
        parent: &[String],
    ) -> Result<usize> {
        let name = item.ident.to_string();
        let directory = children.join(&name);
        let path = [parent, std::slice::from_ref(&name)].concat();
        if let Some((_, items)) = &item.content {
            return self.read_items(items, file, &directory, &path);
        }
        let beside = children.join(format!("{name}.rs"));
        let inside = directory.join("mod.rs");
        let found = if beside.exists() { beside } else { inside };
        self.read_file(&found, &directory, &path)
    }

    /// The graph of files and their imports.
    pub(super) fn graph(&self) -> Graph {
        let mut files: Vec<_> = self
            .files
            .iter()
            .map(|(path, module)| File {
                path: path.clone(),
                module: module.clone(),
                imports: BTreeMap::new(),
            })
            .collect();
        for (index, module) in self.modules.iter().enumerate() {
            let paths = module
                .imported
                .values()
                .chain(&module.globs)
                .chain(&module.mentioned);
            for path in paths {
                let Some(target) = self.find(index, path, MAX_STEPS) else {
                    continue;
                };
                let target = self.modules[target].file;
                if target != module.file {
                    let name = path.last().cloned().unwrap_or_default();
                    files[module.file]
                        .imports
                        .entry(target)
                        .or_default()
                        .insert(name);
                }
            }
        }
        Graph { files }
    }

    /// The module that defines the item of a path. `None` if another crate defines it.
    fn find(&self, from: usize, path: &[String], steps: usize) -> Option<usize> {
        let steps = steps.checked_sub(1)?;
        let (first, mut rest) = path.split_first()?;
        let mut module = match first.as_str() {
            "crate" => 0,
            "self" => from,
            "super" => self.parent(from)?,
            _ => {
                rest = path;
                let here = &self.modules[from];
                let is_known =
                    here.children.contains_key(first) || here.imported.contains_key(first);
                // Anything else is of another crate, or an item of this module or a type's.
                if !is_known {
                    return None;
                }
                from
            }
        };
        while let Some((name, after)) = rest.split_first() {
            let here = &self.modules[module];
            if name == "super" {
                module = self.parent(module)?;
            } else if let Some(child) = here.children.get(name) {
                module = *child;
            } else if here.items.contains(name) || name == "self" {
                return Some(module);
            } else if let Some(target) = here.imported.get(name) {
                let target = [target, after].concat();
                return self.find(module, &target, steps);
            } else {
                let through = here.globs.iter().find_map(|glob| {
                    let target = [glob, rest].concat();
                    self.find(module, &target, steps)
                });
                return through.or(Some(module));
            }
            rest = after;
        }
        Some(module)
    }

    fn parent(&self, module: usize) -> Option<usize> {
        let (_, parent) = self.modules[module].path.split_last()?;
        self.modules.iter().position(|other| other.path == parent)
    }
}

impl Module {
    /// Adds the imports of a `use` tree; `before` is the path before it.
    fn import(&mut self, tree: &UseTree, before: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before);
                before.pop();
            }
            UseTree::Name(name) => self.bring(name.ident.to_string(), None, before),
            UseTree::Rename(rename) => {
                self.bring(
                    rename.ident.to_string(),
                    Some(rename.rename.to_string()),
                    before,
                );
            }
            UseTree::Glob(_) => self.globs.push(before.clone()),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before);
                }
            }
        }
    }

    fn bring(&mut self, name: String, here: Option<String>, before: &[String]) {
        let mut path = before.to_vec();
        if name != "self" {
            path.push(name);
        }
        let Some(last) = path.last().cloned() else {
            return;
        };
        let mut here = here.unwrap_or(last);
        // `use Trait as _` in several places are several imports.
        while self.imported.contains_key(&here) {
            here.push('_');
        }
        self.imported.insert(here, path);
    }
}

/// Collects the paths of code that have more than one segment.
struct Mentions<'a>(&'a mut BTreeSet<Vec<String>>);

impl Visit<'_> for Mentions<'_> {
    fn visit_path(&mut self, path: &syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let segments = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string());
            self.0.insert(segments.collect());
        }
        syn::visit::visit_path(self, path);
    }
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| {
                let text = list.tokens.to_string();
                text == "test" || text.starts_with("all (test") || text.starts_with("any (test")
            })
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
