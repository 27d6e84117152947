//! Two hosts of the test's own, in network namespaces joined by a veth pair. Needs root.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use spacedrive_testing::{Home, Outcome, root_or_skip, wait_until};

/// Ten times what anything in here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// One host: a namespace, and a home with an instance `main` in it.
struct HostNs {
    name: String,
    link: String,
    home: Home,
}

/// Two hosts and the link between them.
struct Net {
    a: HostNs,
    b: HostNs,
}

fn sh(script: &str) {
    let outcome = Outcome::of(Command::new("bash").args(["-eu", "-c", script]));
    assert_eq!(outcome.code, 0, "{script}: {outcome:?}");
}

impl Net {
    /// `multicast`: whether the hosts can reach each other by multicast, as on an ordinary local network.
    fn new(tag: &str, multicast: bool) -> Self {
        let id = std::process::id();
        let host = |side: &str| HostNs {
            name: format!("sd{id}{tag}{side}"),
            link: format!("v{id}{tag}{side}"),
            home: Home::new(env!("CARGO_BIN_EXE_spacedrive")),
        };
        let net = Self { a: host("a"), b: host("b") };
        let (a, b) = (&net.a, &net.b);
        sh(&format!(
            "ip netns add {0}; ip netns add {1}; ip link add {2} netns {0} type veth peer name {3} netns {1}
             ip -n {0} addr add 10.77.0.1/24 dev {2}; ip -n {1} addr add 10.77.0.2/24 dev {3}
             for n in {0} {1}; do ip -n $n link set lo up; done
             ip -n {0} link set {2} up; ip -n {1} link set {3} up",
            a.name, b.name, a.link, b.link
        ));
        if multicast {
            for host in [a, b] {
                sh(&format!("ip -n {} route add 224.0.0.0/4 dev {}", host.name, host.link));
            }
        }
        net
    }

    fn start(&self, flags: &str) {
        for (host, name) in [(&self.a, "anna"), (&self.b, "ben")] {
            host.run(&format!("start {flags} --instance {name}")).ok();
            host.run(&format!("--instance {name} network init --no-password")).ok();
        }
    }

    fn connected(&self) -> bool {
        self.a.status("anna") == ["connected"] && self.b.status("ben") == ["connected"]
    }

    fn until_connected(&self, what: &str) -> Duration {
        let start = Instant::now();
        wait_until(PATIENCE, what, || self.connected());
        start.elapsed()
    }

    fn until_offline(&self, what: &str) -> Duration {
        let start = Instant::now();
        wait_until(PATIENCE, what, || self.a.status("anna") == ["offline"] && self.b.status("ben") == ["offline"]);
        start.elapsed()
    }
}

impl HostNs {
    /// Runs the program inside the host.
    fn run(&self, line: &str) -> Outcome {
        let inner = self.home.command(line.split_whitespace());
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(inner.get_program()).args(inner.get_args());
        command.env_clear().current_dir(self.home.cwd());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Outcome::of(&mut command)
    }

    /// How the paired devices stand.
    fn status(&self, instance: &str) -> Vec<String> {
        let list = self.run(&format!("--instance {instance} network devices --json")).ok().json();
        list.as_array().unwrap().iter().map(|d: &Value| d["status"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in [&self.a, &self.b] {
            host.run("stop --all");
            let _ = Command::new("ip").args(["netns", "del", &host.name]).status();
        }
    }
}

fn words(host: &HostNs, instance: &str) -> String {
    let generated = host.run(&format!("--instance {instance} network pair generate --auto-accept")).ok();
    generated.stdout.trim_start_matches("Pairing code:").trim().to_owned()
}

#[test]
fn by_multicast_dns_with_the_link_cut_and_back() {
    if !root_or_skip("network namespaces") {
        return;
    }
    let net = Net::new("m", true);
    net.start("");
    let code = words(&net.a, "anna");
    net.b.run(&format!("--instance ben network pair join {code}")).ok();
    net.until_connected("paired by multicast DNS");
    let id = |host: &HostNs, name: &str| host.run(&format!("--instance {name} network status --json")).ok().json()["id"].clone();
    assert_ne!(id(&net.a, "anna"), id(&net.b, "ben"));

    sh(&format!("ip -n {} link set {} down", net.a.name, net.a.link));
    let noticed = net.until_offline("both notice the cut");
    assert!(noticed < Duration::from_secs(5), "noticed the cut only after {noticed:?}");
    // A new neighbour on the same host finds anna although the network is gone.
    net.a.run("start --instance anton").ok();
    net.a.run("--instance anton network init --no-password").ok();
    let code = words(&net.a, "anna");
    net.a.run(&format!("--instance anton network pair join {code}")).ok();
    sh(&format!("ip -n {} link set {} up", net.a.name, net.a.link));
    wait_until(PATIENCE, "ben is back", || net.b.status("ben") == ["connected"]);
    wait_until(PATIENCE, "anna has both", || net.a.status("anna") == ["connected", "connected"]);

    // ben moves to another address and is found again.
    sh(&format!("ip -n {0} addr del 10.77.0.2/24 dev {1}; ip -n {0} addr add 10.77.0.3/24 dev {1}", net.b.name, net.b.link));
    sh(&format!("ip -n {} route replace 224.0.0.0/4 dev {}", net.b.name, net.b.link));
    wait_until(PATIENCE, "ben is back at his new address", || {
        net.b.status("ben") == ["connected"] && net.a.status("anna") == ["connected", "connected"]
    });
}

#[test]
fn by_address_without_multicast() {
    if !root_or_skip("network namespaces") {
        return;
    }
    let net = Net::new("x", false);
    net.start("--no-mdns");
    let code = words(&net.a, "anna");
    net.b.run(&format!("--instance ben network pair join {code}")).exits(5).says("no device offers this code");
    let sessions = net.a.run("--instance anna network pair status --json").ok().json();
    let all = sessions[0]["addresses"].as_array().unwrap();
    let address = all.iter().filter_map(Value::as_str).find(|a| a.starts_with("10.77.0.1:")).unwrap_or_else(|| panic!("{all:?}"));
    net.b.run(&format!("--instance ben network pair join --address {address} {code}")).ok();
    net.until_connected("paired by address");
    // After a restart they find each other where they were, as long as one of the two ports is the same.
    net.b.run("--instance ben stop").ok();
    wait_until(PATIENCE, "ben is offline", || net.a.status("anna") == ["offline"]);
    net.b.run("start --no-mdns --instance ben").ok();
    net.until_connected("ben is back");
}

#[test]
fn with_ten_percent_of_the_packets_lost() {
    if !root_or_skip("network namespaces") {
        return;
    }
    let net = Net::new("l", true);
    for host in [&net.a, &net.b] {
        sh(&format!(
            "ip netns exec {} nft 'add table inet t; add chain inet t o {{ type filter hook output priority 0; }}; \
             add rule inet t o oif \"{}\" numgen random mod 100 < 10 drop'",
            host.name, host.link
        ));
    }
    net.start("");
    // Multicast packets get lost too, so the five seconds of a search may pass in vain; a code outlives that.
    let code = words(&net.a, "anna");
    wait_until(PATIENCE, "paired", || net.b.run(&format!("--instance ben network pair join {code}")).code == 0);
    net.until_connected("connected in spite of the loss");
    // It stays so: a lost packet is no lost device.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        assert!(net.connected(), "a lost packet was taken for a lost device after {:?}", start.elapsed());
        std::thread::park_timeout(Duration::from_millis(200));
    }
}
