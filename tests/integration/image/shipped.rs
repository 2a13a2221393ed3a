// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The recipes we ship: whole, but for packages of pkgsrc that nobody could pin
//! yet.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::path::{Path, PathBuf};

use zone_image::artifacts::{self, Made};
use zone_image::look::{Place, look};
use zone_image::plan;
use zone_image::recipe::{self, Brand};
use zone_image::stamp::Stamp;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Everything is there but our agent and, of Grafana for SmartOS, the digests
/// of pkgsrc's packages.
#[test]
fn every_role_lacks_nothing_but_pins_of_pkgsrc() {
    let workspace = workspace();
    let folder = workspace.join("image/recipes");
    let pins = folder.join("artifacts.toml");
    let artifacts = artifacts::load(std::slice::from_ref(&pins)).unwrap();
    let place = Place {
        workspace,
        programs: [("config-agent".into(), "/bin/true".into())].into(),
    };
    let recipes = recipe::list(&folder).unwrap();
    let names: Vec<_> = recipes.iter().map(|one| one.0.as_str()).collect();
    assert_eq!(names, ["grafana", "prometheus", "thanos"]);
    for name in names {
        for brand in Brand::ALL {
            let recipe = recipe::load(&folder, name, brand).unwrap();
            let stamp = Stamp { version: "v".into(), epoch: 0 };
            let facts = look(&place, &recipe, brand, &artifacts, stamp);
            let planned = plan::plan(&recipe, brand, &artifacts, &facts);
            let problems = planned.err().map(|all| all.0).unwrap_or_default();
            for problem in problems {
                let shown = problem.to_string();
                assert_eq!(problem.file, pins, "{shown}");
                let native = (name, brand) == ("grafana", Brand::JoyentMinimal);
                assert!(native && problem.key.contains(".package."), "{shown}");
                assert!(problem.key.ends_with(".sha256"), "{shown}");
                assert!(problem.seen.starts_with("absent"), "{shown}");
            }
        }
    }
}

/// `unpinned` is for tests; a source of ours has a version in its URL.
#[test]
fn no_component_we_ship_goes_in_unpinned() {
    let pins = workspace().join("image/recipes/artifacts.toml");
    let artifacts = artifacts::load(&[pins]).unwrap();
    for (name, artifact) in &artifacts.all {
        for brand in Brand::ALL {
            let Some(made) = artifact.made(brand) else { continue };
            for (key, source) in made.sources() {
                assert_eq!(source.unpinned, None, "{name} {key}");
                let from = source.from.to_string();
                let version = from.contains(&artifact.version);
                let pkgsrc = matches!(made, Made::Pkgsrc(_));
                assert!(version || pkgsrc, "{name}: {from}");
            }
            if let Made::DebianRoot(root) = made {
                assert_eq!(root.unpinned, None, "{name}");
                let lock = root.lock.as_ref().expect("a lock beside it");
                // No mirror of somebody's own: where all find them.
                assert!(root.mirrors.is_empty(), "{name}");
                for package in &root.packages {
                    assert!(lock.has(package), "{name}: {package}");
                }
            }
        }
    }
}

/// The manifest keeps a zone off a platform that it would not start on: what is
/// included tells as much as the recipe itself.
#[test]
fn an_image_wants_the_latest_platform_that_a_part_of_it_wants() {
    let folder = workspace().join("image/recipes");
    for (name, brand, wanted) in [
        ("prometheus", Brand::JoyentMinimal, "20210826T002459Z"),
        ("grafana", Brand::JoyentMinimal, "20210826T002459Z"),
        ("prometheus", Brand::Lx, "20220421T000000Z"),
        ("grafana", Brand::Lx, "20250301T000000Z"),
    ] {
        let recipe = recipe::load(&folder, name, brand).unwrap();
        let platform = recipe.min_platform().unwrap();
        assert_eq!(platform.0, wanted, "{name} {brand:?}");
    }
}
