// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What tests and benchmarks of images share: trees from folders of this
//! machine, OpenZFS's own code to receive streams with, a workspace to build
//! in.

pub mod folder;
pub mod workshop;
pub mod zfs;
