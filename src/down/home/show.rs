//! The open commands of a device, for a person who asks.

use protocols::desk::order_of;
use protocols::identity::DeviceId;

use super::super::owner::InstanceId;
use super::super::view::{self, OpenCommand, Where};
use super::{Home, Pending, Place, Reach};

impl Home {
    /// The open commands of a device, oldest first.
    pub(crate) fn of_device(&self, device: &DeviceId) -> Vec<OpenCommand> {
        let ids = self.by_device.get(device).into_iter().flatten();
        ids.filter_map(|id| self.commands.get(id)).take(view::COMMANDS).map(|p| p.shown(&self.me)).collect()
    }

    /// Whether an instance can be reached, as far as was seen.
    pub(crate) fn reaches(&self, instance: &InstanceId) -> bool {
        !matches!(self.instances.get(instance), Some(Reach::DownSince(_) | Reach::Lost(_)))
    }
}

impl Pending {
    fn shown(&self, home: &InstanceId) -> OpenCommand {
        let (place, at) = match &self.place {
            Place::Recovering => (Where::Recovering, &[][..]),
            Place::Waiting => (Where::Home, &[][..]),
            Place::Doubt(among) => (Where::HandedOver, &among[..]),
            Place::At(instance) => (Where::Device, std::slice::from_ref(instance)),
            Place::Spent => (Where::Written, &[][..]),
        };
        OpenCommand {
            id: self.command.id.as_str().to_owned(),
            kind: self.command.kind.name().into(),
            order_id: order_of(&self.command.kind).map(|id| id.as_str().to_owned()),
            stage: self.stage,
            sent_at: self.sent_at,
            deadline: self.command.deadline,
            place,
            instances: at.iter().map(|instance| instance.gateway.to_string()).collect(),
            home: home.gateway.to_string(),
        }
    }
}
