//! The order business as a whole: a backend on one side, cars of every protocol on the other, HAProxy, several instances and
//! a real Kafka between.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::json;

use super::backend::Backend;
use super::gateway::{Gateway, Setup, http};
use super::haproxy::Balancer;
use super::kafka::shared;
use super::taxi::{BOXES, KINDS, Taxi, Until};
use super::{proxy_header, unique, until};

/// Partitions of the commands topic, as the harness configures them.
pub(crate) const PARTITIONS: usize = 4;

/// Number of the first order.
const FIRST: u32 = 1000;

/// See the module.
pub(crate) struct Cluster {
    pub(crate) gateways: Vec<Gateway>,
    balancer: Balancer,
    pub(crate) taxis: Vec<Taxi>,
    pub(crate) backend: Backend,
    /// What was waited for, and since when.
    phases: Vec<(String, Instant)>,
}

fn gateway(n: usize, brokers: &str, prefix: &str) -> Gateway {
    let setup = Setup::kafka(&format!("gw-{n}"), brokers, prefix);
    let protocols = KINDS.iter().chain(&BOXES);
    protocols.fold(setup, |setup, protocol| setup.listen_behind_proxy(protocol)).start()
}

impl Cluster {
    pub(crate) fn start(name: &str, instances: usize) -> Self {
        Self::start_at(shared(), name, instances)
    }

    /// The same at another Kafka.
    pub(crate) fn start_at(brokers: &str, name: &str, instances: usize) -> Self {
        let prefix = unique(name);
        let gateways: Vec<_> = (1..=instances).map(|n| gateway(n, brokers, &prefix)).collect();
        let protocols: Vec<_> = KINDS.into_iter().chain(BOXES).collect();
        let balancer = Balancer::start(&protocols, &gateways.iter().collect::<Vec<_>>());
        let backend = Backend::new(brokers, &prefix);
        Self { gateways, balancer, taxis: Vec::new(), backend, phases: Vec::new() }
    }

    /// So many cars of a protocol sign on, one after the other: the balancer spreads them evenly.
    pub(crate) fn taxis(&mut self, protocol: &'static str, count: u32, until: impl Fn(u32) -> Until) {
        let first = self.taxis.iter().filter(|taxi| taxi.protocol == protocol).count() as u32;
        for n in 0..count {
            let mut taxi = Taxi::new(protocol, first + n, self.balancer.address(protocol), until(n));
            taxi.sign_on();
            self.taxis.push(taxi);
        }
    }

    /// The same of every protocol that can carry orders.
    pub(crate) fn taxis_of_each(&mut self, count: u32, until: impl Fn(u32) -> Until) {
        KINDS.into_iter().for_each(|protocol| self.taxis(protocol, count, &until));
    }

    /// Past HAProxy, since it would choose by itself: a car connects to the instance of this number, counted in a circle.
    pub(crate) fn place(&mut self, taxi: usize, on: usize, forget: bool) {
        let to = self.gateways[on % self.gateways.len()].address(self.taxis[taxi].protocol);
        self.taxis[taxi].move_to(to, proxy_header::v2(), forget);
    }

    /// One more car, on that instance.
    pub(crate) fn taxi_on(&mut self, protocol: &'static str, n: u32, on: usize, until: Until) {
        let to = self.gateways[on % self.gateways.len()].address(protocol);
        self.taxis.push(Taxi::new(protocol, n, to, until));
        self.place(self.taxis.len() - 1, on, false);
    }

    /// Offer each taxi an order of its own; an order is named after its taxi.
    pub(crate) fn offer_each(&mut self, seconds: i64) {
        for (order, taxi) in (FIRST..).zip(&self.taxis).filter(|(_, taxi)| taxi.has_screen()) {
            self.backend.offer(order, &taxi.id, seconds);
        }
    }

    /// Texts for devices that are not there, of all partitions.
    pub(crate) fn texts_for_absent(&mut self, name: &str, count: usize, seconds: i64) {
        for n in 0..count {
            self.backend.text(&format!("{name}-absent-{n}"), &format!("1388888{n:04}"), seconds);
        }
    }

    /// A text for each screen.
    pub(crate) fn texts(&mut self, name: &str, seconds: i64) {
        for taxi in self.taxis.iter().filter(|taxi| taxi.has_screen()) {
            self.backend.text(&text_id(name, taxi), &taxi.id, seconds);
        }
    }

    /// What a box can do: once what may be done twice, once what may not.
    pub(crate) fn ask_boxes(&mut self, seconds: i64) {
        for taxi in self.taxis.iter().filter(|taxi| !taxi.has_screen()) {
            let fuel = json!({"name": "fuel", "state": true});
            self.backend.command(&format!("output-{}", taxi.id), &taxi.id, "output", &fuel, seconds);
            self.backend.command(&format!("reboot-{}", taxi.id), &taxi.id, "reboot", &json!({}), seconds);
        }
    }

    /// Everybody does what there is to do until this is true.
    pub(crate) fn run_until(&mut self, what: &str, mut enough: impl FnMut(&Self) -> bool) {
        self.phases.push((what.to_owned(), Instant::now()));
        until(what, || {
            self.look();
            enough(self).then_some(())
        });
    }

    /// Everybody does what there is to do just now.
    pub(crate) fn look(&mut self) {
        self.taxis.iter_mut().for_each(Taxi::look);
        self.backend.look();
    }

    /// The orders that are named after their taxis.
    pub(crate) fn orders(&self) -> impl Iterator<Item = (u32, &Taxi)> {
        (FIRST..).zip(&self.taxis).filter(|(_, taxi)| taxi.has_screen())
    }

    /// Who goes no further than to take the order is not told yet.
    pub(crate) fn hold_the_accepted(&mut self) {
        self.backend.held =
            self.orders().filter(|(_, taxi)| taxi.until == Until::Accepted).map(|(order, _)| order.to_string()).collect();
    }

    /// Every driver goes on to the end.
    pub(crate) fn finish(&mut self) {
        self.backend.held.clear();
        self.taxis.iter_mut().for_each(|taxi| taxi.until = Until::Finished);
    }

    pub(crate) fn all_have_done(&self) -> bool {
        let boxes = self.taxis.iter().filter(|taxi| !taxi.has_screen()).all(|taxi| taxi.asked.len() == 2 && taxi.is_heard());
        boxes && self.orders().all(|(order, taxi)| taxi.has_done(order))
    }

    /// Every order has ended in the topic, and every command too.
    pub(crate) fn all_is_over(&self) -> bool {
        let ended = |(order, taxi): (u32, &Taxi)| self.story(order, taxi).last() == taxi.story().last();
        self.all_have_done() && self.backend.is_done() && self.orders().all(ended)
    }

    /// What the driver did. That some units tell of an offer on the screen is no driver's word.
    pub(crate) fn story(&self, order: u32, taxi: &Taxi) -> Vec<&str> {
        let mut actions = self.backend.actions(order, &taxi.id);
        actions.retain(|action| *action != "delivered");
        actions
    }

    pub(crate) fn holder_of(&self, taxi: &Taxi) -> String {
        until("a taxi to be known to the cluster", || self.gateways.last().unwrap().holder_of(&taxi.id))
    }

    /// The partitions of which each of these instances is the home.
    pub(crate) fn homes(&self, of: std::ops::Range<usize>) -> Vec<Vec<i32>> {
        let known = &self.taxis[0].id;
        self.gateways[of].iter().map(|gateway| gateway.partitions_beside(known)).collect()
    }

    /// Wait until each of these is a home, and there is no partition without one.
    pub(crate) fn await_homes(&mut self, of: std::ops::Range<usize>) {
        self.run_until("all to be homes", |c| {
            let homes = c.homes(of.clone());
            homes.iter().all(|home| !home.is_empty()) && homes.concat().len() == PARTITIONS
        });
    }

    /// Every driver's word is in the topic, once and in order, and none was refused.
    pub(crate) fn assert_whole_stories(&self) {
        for (order, taxi) in self.orders() {
            assert_eq!(self.story(order, taxi), taxi.story(), "{order} on {} of {}", taxi.id, taxi.protocol);
            assert_eq!(taxi.refused, 0, "words of {} of {}", taxi.id, taxi.protocol);
        }
    }

    /// Every command has one outcome, nothing came to a device that was worth nothing any more, no text came twice, but for
    /// what a refused driver reads whenever it matters.
    pub(crate) fn assert_accounts(&mut self) {
        self.backend.assert_one_outcome_each();
        for taxi in &self.taxis {
            assert_eq!(taxi.late, [] as [&str; 0], "{} of {}", taxi.id, taxi.protocol);
            let of_the_gateway = |text: &str| text.contains("you may not take orders");
            let twice: Vec<_> = taxi.each_text.iter().filter(|(text, count)| **count > 1 && !of_the_gateway(text)).collect();
            assert!(twice.is_empty(), "shown more than once on {} of {}: {twice:?}", taxi.id, taxi.protocol);
        }
    }

    /// Wait until every instance knows of each car what the one that holds it knows.
    pub(crate) fn await_agreement(&mut self) {
        self.run_until("all instances to know the same", |c| {
            let same = |taxi: &Taxi| {
                let known: Vec<_> = c.gateways.iter().map(|gateway| gateway.known(&taxi.id)["session"].take()).collect();
                known.iter().all(|session| *session == known[0])
            };
            c.taxis.iter().all(same)
        });
    }

    /// The instances that hold a device.
    pub(crate) fn holders(&self) -> BTreeSet<String> {
        self.taxis.iter().map(|taxi| self.holder_of(taxi)).collect()
    }
}

/// The command that shows a text.
pub(crate) fn text_id(name: &str, taxi: &Taxi) -> String {
    format!("{name}-{}", taxi.id)
}

/// What a failing test was waiting for.
impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for gateway in &self.gateways {
            let asked = ["/ready", "/sessions"].map(|path| http(gateway.admin(), "GET", path));
            eprintln!("--- {} says {asked:?}", gateway.id());
        }
        for (what, since) in &self.phases {
            eprintln!("--- waited for {what} since {:?} before the end", since.elapsed());
        }
        eprintln!("--- commands without an outcome: {:?}", self.backend.open());
        eprintln!("--- not acknowledged: {:#?}", self.backend.others(["acknowledged", "offline"]));
        for (order, taxi) in
            self.orders().filter(|(order, taxi)| !taxi.has_done(*order) || self.story(*order, taxi) != taxi.story())
        {
            let (actions, offer) = (self.story(order, taxi), self.backend.outcome(&format!("offer-{order}-{}", taxi.id)));
            let holder = self.gateways.iter().map(|gateway| gateway.holder_of(&taxi.id)).collect::<Vec<_>>();
            eprintln!("{order} on {} of {} until {:?}, which is on {holder:?}", taxi.id, taxi.protocol, taxi.until);
            eprintln!("    in the topic {actions:?}, on the screen {:?}, the offer {offer:?}", taxi.orders);
        }
    }
}
