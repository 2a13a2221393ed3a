// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Grafana as the judge of its provisioning: a stand-in that ends as the real
//! one does, or comes up, or does neither.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use localdc::agent_bench::{Bench, Ended};

const SOURCES: &str = "\
apiVersion: 1
prune: true
datasources:
  - {name: a, uid: a, type: prometheus, access: proxy, orgId: 1,
     url: 'http://p:9090', isDefault: true, editable: false,
     jsonData: {httpMethod: POST, timeInterval: 10s, queryTimeout: 30s,
                prometheusType: Prometheus, manageAlerts: false}}
";

/// What it says and how it ends is that of Grafana 7.5; the words that it
/// takes offence at are this test's.
const STAND_IN: &str = r#"
echo $$ >"$B/trial.pid"
for ini; do :; done
echo "$ini" >"$B/trial.ini"
folder=$(dirname "$ini")
if grep -qs taken "$folder"/provisioning/datasources/*.yml; then
  echo 'lvl=eror msg="Server shutdown" reason="Datasource provisioning error: data source with the same uid already exists"' >&2
  exit 1
fi
grep -qs silent "$folder"/provisioning/datasources/*.yml && exec sleep 300
exec perl -MIO::Socket::UNIX -e '
  my $s = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die $!;
  while (my $c = $s->accept) {
    sysread $c, my $ask, 4096;
    syswrite $c, "HTTP/1.0 200 OK\r\n\r\n{}"; close $c;
  }' "$folder/socket""#;

/// Puts it there; it runs as nobody, and leaves its traces all the same.
fn stand_in(bench: &Bench) {
    for trace in ["trial.pid", "trial.ini"] {
        let path = bench.path(trace);
        bench.write(&path, "");
        let open = fs::Permissions::from_mode(0o666);
        fs::set_permissions(path, open).unwrap();
    }
    bench.tool("grafana", STAND_IN);
}

async fn judged(bench: &Bench, text: &str, limit: &str) -> Ended {
    let file = bench.path("staged.yml");
    bench.write(&file, text);
    let file = file.display().to_string();
    let args = ["lint", "grafana-datasources", &file, "--with", "grafana"];
    bench.verb(&[&args[..], &["--limit", limit]].concat()).await
}

fn read(bench: &Bench, name: &str) -> String {
    fs::read_to_string(bench.path(name)).unwrap().trim().to_owned()
}

/// Neither a process nor a folder is left.
async fn nothing_is_left(bench: &Bench) {
    let pid = read(bench, "trial.pid");
    localdc::agent_bench::eventually("it is gone", async || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z ")).then_some(())
    })
    .await;
    let ini = read(bench, "trial.ini");
    let folder = std::path::Path::new(&ini).parent().unwrap();
    let temporary = folder.starts_with(std::env::temp_dir());
    assert!(temporary && !folder.exists(), "{folder:?}");
}

#[tokio::test]
async fn what_ends_grafana_is_refused_with_its_words() {
    let bench = Bench::grafana().await;
    let none = judged(&bench, SOURCES, "20").await;
    assert_eq!(none.code, Some(0), "no Grafana here: {none:?}");
    stand_in(&bench);
    let good = judged(&bench, SOURCES, "20").await;
    assert_eq!(good.code, Some(0), "{good:?}");
    nothing_is_left(&bench).await;
    let taken = SOURCES.replace("uid: a", "uid: taken");
    let bad = judged(&bench, &taken, "20").await;
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert!(bad.stderr.contains("same uid already exists"), "{bad:?}");
    nothing_is_left(&bench).await;
}

#[tokio::test]
async fn a_grafana_that_says_nothing_is_no_verdict_and_is_ended() {
    let bench = Bench::grafana().await;
    stand_in(&bench);
    let silent = SOURCES.replace("uid: a", "uid: silent");
    let begin = Instant::now();
    let ended = judged(&bench, &silent, "8").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(begin.elapsed().as_secs() < 60);
    nothing_is_left(&bench).await;
}
