// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a plan is made of.

use std::path::PathBuf;

use crate::artifacts::Artifact;
use crate::build::Within;
use crate::recipe::Mode;
use crate::tree::TreePath;

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Step {
    /// Lays a component's files below a folder.
    Component {
        /// Its name.
        name: String,
        /// Its pins.
        artifact: Box<Artifact>,
        /// The folder.
        to: TreePath,
        /// Patches of ours, for Go source, sorted.
        patches: Vec<PathBuf>,
        /// The toolchain that builds it.
        toolchain: Option<Box<(String, Artifact)>>,
    },
    /// Takes a name away, with all below.
    Remove {
        /// The name.
        path: TreePath,
        /// Only what is below.
        content: bool,
    },
    /// Makes a directory.
    Folder {
        /// Where.
        path: TreePath,
        /// Permission bits.
        mode: Mode,
    },
    /// Lays a program of ours.
    Program {
        /// Its name.
        name: String,
        /// The binary.
        from: PathBuf,
        /// Where.
        to: TreePath,
        /// What it is linked from.
        made_of: Vec<Within>,
    },
    /// Lays files of the workspace.
    Files {
        /// What the recipe calls them.
        from: String,
        /// Each file and its place.
        files: Vec<(PathBuf, TreePath)>,
        /// Permission bits.
        mode: Mode,
    },
    /// Writes a text.
    Text {
        /// Where.
        path: TreePath,
        /// Permission bits.
        mode: Mode,
        /// The text.
        text: String,
        /// Whether something else gives way.
        replace: bool,
    },
    /// Writes a configuration of illumos' runtime linker.
    Linker {
        /// Where.
        path: TreePath,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Makes a symbolic link.
    Link {
        /// Where.
        path: TreePath,
        /// Where it leads.
        target: String,
        /// Whether something else gives way.
        replace: bool,
    },
}
