// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What an image is made of, for programs: SPDX 2.3 as JSON. Components with
//! versions, licences, sources, digests and patches; what they are linked
//! from or hold; every file that is not the system's own.
//!
//! Source: the SPDX specification, version 2.3, and its JSON schema.

use serde_json::{Value, json};

use crate::artifacts::Sha256;
use crate::build::{Built, Part, Within};
use crate::manifest::name_based;
use crate::plan::Plan;

/// The document, with a newline at its end; the same build gives the same.
pub fn document(plan: &Plan, built: &Built) -> anyhow::Result<String> {
    let mut list = List::default();
    list.image(plan);
    for part in &built.parts {
        list.part(part);
    }
    let name = format!("{}-{}", plan.image.name, plan.stamp.version);
    let unique = name_based(&format!("{name} {:?}", list.packages));
    let version = env!("CARGO_PKG_VERSION");
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace":
            format!("https://spdx.org/spdxdocs/{name}-{unique}"),
        "creationInfo": {
            "created": plan.stamp.published_at()?,
            "creators": [format!("Tool: zone-image-{version}")],
        },
        "documentDescribes": ["SPDXRef-image"],
        "packages": list.packages,
        "files": list.files,
        "relationships": list.relationships,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

#[derive(Default)]
struct List {
    packages: Vec<Value>,
    files: Vec<Value>,
    relationships: Vec<Value>,
}

impl List {
    fn image(&mut self, plan: &Plan) {
        self.packages.push(json!({
            "SPDXID": "SPDXRef-image",
            "name": plan.image.name,
            "versionInfo": plan.stamp.version,
            "primaryPackagePurpose": "OPERATING-SYSTEM",
            "downloadLocation": "NOASSERTION",
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "filesAnalyzed": false,
            "summary": plan.image.description,
            "homepage": plan.image.homepage,
        }));
        self.relate("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image");
    }

    fn relate(&mut self, from: &str, how: &str, to: &str) {
        self.relationships.push(json!({
            "spdxElementId": from,
            "relationshipType": how,
            "relatedSpdxElement": to,
        }));
    }

    fn part(&mut self, part: &Part) {
        let id = format!("SPDXRef-{}", word(&part.name));
        let mut package = json!({
            "SPDXID": id,
            "name": part.name,
            "versionInfo": part.version,
            "downloadLocation": "NOASSERTION",
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": part.licence,
            "copyrightText": "NOASSERTION",
            "filesAnalyzed": false,
            "homepage": part.homepage,
            "sourceInfo": source_info(part),
        });
        // One source has a digest that is the package's; several have theirs
        // in the words above.
        if let [(from, sha256)] = part.sources.as_slice() {
            package["checksums"] = json!([sha256_of(sha256)]);
            if from.starts_with("http") {
                package["downloadLocation"] = json!(from);
            }
        }
        if let Some(why) = &part.unpinned {
            package["comment"] = json!(format!("not pinned: {why}"));
        }
        self.packages.push(package);
        self.relate("SPDXRef-image", "CONTAINS", &id);
        for within in &part.within {
            self.within(&id, within);
        }
        for (path, digests) in &part.files {
            let file = format!("SPDXRef-File-{}", digests_of(path.as_bytes()));
            self.files.push(json!({
                "SPDXID": file,
                "fileName": format!(".{path}"),
                "checksums": [
                    { "algorithm": "SHA1", "checksumValue": digests.sha1 },
                    sha256_of(&digests.sha256),
                ],
                "licenseConcluded": "NOASSERTION",
                "copyrightText": "NOASSERTION",
            }));
            self.relate(&id, "CONTAINS", &file);
        }
    }

    fn within(&mut self, outer: &str, within: &Within) {
        let id = format!(
            "{outer}-{}",
            word(&format!("{}-{}", within.name, within.version))
        );
        let licence = within.licence.as_deref().unwrap_or("NOASSERTION");
        let mut package = json!({
            "SPDXID": id,
            "name": within.name,
            "versionInfo": within.version,
            "downloadLocation": "NOASSERTION",
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": licence,
            "copyrightText": "NOASSERTION",
            "filesAnalyzed": false,
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": within.purl,
            }],
        });
        if let Some(sha256) = &within.sha256 {
            package["checksums"] = json!([sha256_of(sha256)]);
        }
        self.packages.push(package);
        self.relate(outer, "CONTAINS", &id);
    }
}

fn sha256_of(sha256: &Sha256) -> Value {
    json!({ "algorithm": "SHA256", "checksumValue": sha256.as_str() })
}

fn digests_of(name: &[u8]) -> String {
    crate::digest::sha256(name).as_str()[..32].to_owned()
}

/// Letters, digits, `.` and `-`: all that an SPDX id may hold.
fn word(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    text.replace(|c| !fits(c), "-")
}

fn source_info(part: &Part) -> String {
    let mut words: Vec<_> = part
        .sources
        .iter()
        .map(|(from, sha256)| format!("{from} (SHA-256 {sha256})"))
        .collect();
    words.extend(
        part.patches
            .iter()
            .map(|(name, sha256)| format!("patch {name} (SHA-256 {sha256})")),
    );
    match words.is_empty() {
        true => "built from this workspace".into(),
        false => words.join("; "),
    }
}
