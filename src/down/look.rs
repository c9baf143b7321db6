//! A look at a device for a person who asks: what this instance knows of it, and what the others do.

use std::collections::{HashMap, HashSet};

use protocols::identity::DeviceId;
use protocols::outcome::Outcome;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::home::Answer;
use super::hub::{Handle, Hub, Input};
use super::owner::InstanceId;
use super::peer::{ANSWER, Message};
use super::view::{Connection, Ended, Known, OUTCOMES, Store, View};
use crate::recent::Recent;

/// Devices whose last outcomes are remembered: those of which there were any in the last hours.
const DEVICES: usize = 10_000;

/// A wish to look at a device.
#[derive(Debug)]
pub(crate) struct Look {
    device: DeviceId,
    /// Whether other instances are asked.
    everywhere: bool,
    /// Who was asked, and who could not be: told at once.
    asked: oneshot::Sender<Asked>,
    /// What they know, as it comes.
    views: UnboundedSender<(InstanceId, View)>,
}

#[derive(Debug, Default)]
struct Asked {
    /// These answer, this one among them.
    instances: Vec<InstanceId>,
    /// These cannot be reached; the device is connected to one of them.
    unreachable: Vec<InstanceId>,
}

/// What the hub keeps for those who look.
#[derive(Debug)]
pub(super) struct Looks {
    ended: Recent<Ended>,
    /// Who waits for other instances' views, by the number of the question.
    waiting: HashMap<u64, UnboundedSender<(InstanceId, View)>>,
    asked: u64,
}

impl Default for Looks {
    fn default() -> Self {
        Self { ended: Recent::new(OUTCOMES, DEVICES), waiting: HashMap::new(), asked: 0 }
    }
}

impl Looks {
    /// An outcome was written.
    pub(super) fn ended(&mut self, answer: &Answer, outcome: &Outcome) {
        if let Some(device) = &answer.device {
            let ended = Ended { at: answer.at, kind: answer.measured.0.map(Into::into), outcome: outcome.clone() };
            self.ended.push(device, ended);
        }
    }

    /// Another instance says what it knows.
    pub(super) fn seen(&self, number: u64, from: &InstanceId, view: View) {
        if let Some(views) = self.waiting.get(&number) {
            let _ = views.send((from.clone(), view));
        }
    }
}

impl Handle {
    /// What is known of a device, here or everywhere; `None` at the end of the process.
    pub(crate) async fn known(&self, device: DeviceId, everywhere: bool) -> Option<Known> {
        let standing = self.courier.clone().filter(|_| everywhere);
        let standing = standing.map(|courier| tokio::task::spawn_blocking(move || courier.standing()));
        let (asked, who) = oneshot::channel();
        let (views, mut seen) = unbounded_channel();
        self.inputs.send(Input::Look(Look { device, everywhere, asked, views })).ok()?;
        let Asked { instances, unreachable } = who.await.ok()?;
        let mut views = HashMap::new();
        // each has a second for its connection, and those elsewhere one for the way
        let _ = timeout(2 * ANSWER, async {
            while views.len() < instances.len()
                && let Some((instance, view)) = seen.recv().await
            {
                views.insert(instance, view);
            }
        })
        .await;
        let named = |instance: InstanceId, view| (instance.gateway.to_string(), view);
        let answers = instances.into_iter().map(|instance| {
            let view = views.remove(&instance);
            named(instance, view)
        });
        let mut all: Vec<_> = answers.collect();
        all.extend(unreachable.into_iter().map(|instance| named(instance, None)));
        let standing = match standing {
            Some(asking) => asking.await.ok(),
            None => None,
        };
        Some(Known::together(all, standing))
    }
}

impl Hub {
    /// Somebody here wants to know.
    pub(super) fn look(&mut self, look: Look) {
        let Look { device, everywhere, asked, views } = look;
        let mut told = Asked { instances: vec![self.me.clone()], unreachable: Vec::new() };
        if everywhere {
            self.looks.asked += 1;
            self.looks.waiting.retain(|_, waiting| !waiting.is_closed());
            self.looks.waiting.insert(self.looks.asked, views.clone());
            let holder = self.gateway.sessions.table().record(&device).map(super::table::Record::instance);
            for instance in self.others() {
                if self.homes.contains_key(&instance) || self.home.reaches(&instance) {
                    self.say(&instance, Message::Look { device: device.clone(), number: self.looks.asked });
                    told.instances.push(instance);
                } else if holder.as_ref() == Some(&instance) {
                    told.unreachable.push(instance);
                }
            }
        }
        let me = self.me.clone();
        self.see(&device, move |view| drop(views.send((me, view))));
        let _ = asked.send(told);
    }

    /// Somebody at another instance wants to know.
    pub(super) fn look_for(&self, from: InstanceId, device: &DeviceId, number: u64) {
        let inputs = self.inputs.clone();
        self.see(device, move |view| drop(inputs.send(Input::Say(from, Message::Seen { number, view: Box::new(view) }))));
    }

    /// Say something on the connection that the other instance has to us, if it has one.
    pub(super) fn say(&mut self, to: &InstanceId, message: Message) {
        match self.homes.get(to).filter(|home| !home.is_closed()) {
            Some(home) => drop(home.send(message)),
            None => self.send(to, message),
        }
    }

    /// The instances that are known to be there: those that devices are connected to, and those that are the home of commands
    /// for devices here.
    fn others(&self) -> HashSet<InstanceId> {
        let mut others: HashSet<_> = self.gateway.sessions.table().instances().into_iter().collect();
        others.extend(self.homes.iter().filter(|(_, home)| !home.is_closed()).map(|(instance, _)| instance.clone()));
        others.remove(&self.me);
        others
    }

    /// Give what this instance knows to `tell`, when the device's connection has said what it knows.
    fn see(&self, device: &DeviceId, tell: impl FnOnce(View) + Send + 'static) {
        let session = self.gateway.sessions.table().record(device).cloned();
        let store = self.gateway.sink.status();
        let mut view = View {
            here: session.as_ref().is_some_and(|s| s.instance() == self.me),
            session,
            connection: None,
            open_commands: self.home.of_device(device),
            last_outcomes: self.looks.ended.of(device),
            last_faults: self.gateway.faults.of(device),
            partitions: self.home.partitions().collect(),
            sink: Store { mode: store.mode.into(), healthy: store.healthy, trouble: store.trouble },
        };
        let asked = self.gateway.sessions.ask(device);
        tokio::spawn(async move {
            if let Some(answer) = asked {
                view.connection = timeout(ANSWER, answer).await.ok().and_then(|said: Result<Connection, _>| said.ok());
            }
            tell(view);
        });
    }
}
