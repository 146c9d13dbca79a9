//! A network of its own, with links that can be cut: packets vanish, and nobody is told.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

static NEXT: AtomicU8 = AtomicU8::new(0);

/// A network namespace with links to this one. Dropping it removes all of them.
pub struct Network {
    name: String,
    subnet: u8,
    links: u8,
}

impl Network {
    /// Needs root, as every change to interfaces does.
    pub fn new(links: u8) -> Self {
        let (pid, subnet) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let network = Self { name: format!("ff{pid}n{subnet}"), subnet, links };
        let name = network.name.as_str();
        ip(&["netns", "add", name]);
        ip(&["-n", name, "link", "set", "lo", "up"]);
        for link in 0..links {
            let (outside, inside) = (network.outside(link), network.inside(link));
            ip(&["link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", name]);
            ip(&["addr", "add", &format!("{}/30", network.address(link, 1)), "dev", &outside]);
            ip(&["-n", name, "addr", "add", &format!("{}/30", network.address(link, 2)), "dev", &inside]);
            ip(&["link", "set", &outside, "up"]);
            ip(&["-n", name, "link", "set", &inside, "up"]);
        }
        network
    }

    /// `program` in here.
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// What the inside is called by whoever uses this link.
    pub fn host(&self, link: u8) -> Ipv4Addr {
        self.address(link, 2)
    }

    pub fn cut(&self, link: u8) {
        ip(&["-n", &self.name, "link", "set", &self.inside(link), "down"]);
    }

    pub fn mend(&self, link: u8) {
        ip(&["-n", &self.name, "link", "set", &self.inside(link), "up"]);
    }

    fn address(&self, link: u8, host: u8) -> Ipv4Addr {
        // From a range that is for documentation, so that it hides nothing that exists. By process, so that what a killed
        // run has left is in nobody's way.
        let block = u8::try_from((std::process::id() + u32::from(self.subnet)) % 32).expect("below 32");
        Ipv4Addr::new(203, 0, 113, block * 8 + link * 4 + host)
    }

    fn outside(&self, link: u8) -> String {
        format!("{}o{link}", self.name)
    }

    fn inside(&self, link: u8) -> String {
        format!("{}i{link}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The links go with it, though some time later: a name that is taken again would find the old ones.
        for link in 0..self.links {
            let _ = Command::new("ip").args(["link", "del", &self.outside(link)]).status();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("the tests need the program `ip` (iproute2)");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {told} (this test needs root)", args.join(" "));
}
