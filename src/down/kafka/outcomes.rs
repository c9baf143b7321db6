//! The outcomes topic: written in transactions, read by whoever becomes the home of a partition.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use protocols::identity::DeviceId;
use protocols::time::Timestamp;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, warn};

use super::super::home::{AnswerBody, Batch, Finished, Home};
use super::super::hub::Input;
use super::super::record;
use super::{POLL, REQUEST, RETRY, Shared, Wish, headers};

/// A transaction that is not finished after this is aborted by Kafka when it looks for such ones, every 10 s by default. As long as
/// one of a home that died is open nobody reads the outcomes after it, and no other home begins: so it is short. One takes some
/// 10 ms.
const TRANSACTION: Duration = Duration::from_secs(5);
/// By then a transaction of a home that died has ended, twice over.
const ENDED: Duration = Duration::from_secs(30);
/// After trouble what was on its way may still arrive at a broker that hung, behind the sweep of the next producer: by then it has,
/// and is swept too.
const STRAGGLERS: Duration = Duration::from_secs(15);
/// Beyond its own limit a call of the client is given so long to return.
const STUCK: Duration = Duration::from_secs(2);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(20);

type Failure = Box<dyn Error + Send + Sync>;

/// What the outcomes since then say is over.
///
/// What the home before us appended is among it also if it has just been committed: Kafka ends a transaction in one partition
/// after the other, so that its offsets may be readable before its outcomes are. That home can append nothing more that counts,
/// since our offsets were readable, and the group goes on without it.
pub(super) fn since(shared: &Shared, partition: i32, since: Timestamp) -> Result<HashSet<Finished>, Failure> {
    let topic = shared.topic("outcomes");
    let consumer: BaseConsumer = shared.reader().create()?;
    let there = shared.partitions(&consumer, &topic)?;
    // where there are fewer than of commands, several share one, and which ones changes with their number
    let fewer = there.len() < shared.partitions(&consumer, &shared.topic("commands"))?.len();
    let asked: Vec<i32> = there.into_iter().map(|(n, _)| n).filter(|n| fewer || *n == partition).collect();
    await_ended(shared, &consumer, &topic, &asked)?;
    let mut times = TopicPartitionList::new();
    for partition in asked {
        times.add_partition_offset(&topic, partition, Offset::Offset(since.as_millis()))?;
    }
    let found = consumer.offsets_for_times(times, REQUEST)?;
    let mut finished = HashSet::new();
    let mut unread = BTreeSet::new();
    let mut assignment = TopicPartitionList::new();
    for element in found.elements() {
        // others have none since then
        if let Offset::Offset(offset) = element.offset() {
            unread.insert(element.partition());
            assignment.add_partition_offset(&topic, element.partition(), Offset::Offset(offset))?;
        }
    }
    if unread.is_empty() {
        return Ok(finished);
    }
    consumer.assign(&assignment)?;
    let mut last = Instant::now();
    loop {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                last = Instant::now();
                finished.extend(message.payload().into_iter().flat_map(record::finished));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
                if unread.is_empty() {
                    return Ok(finished);
                }
            }
            Some(Err(e)) => debug!("outcomes: {e}"),
            None if last.elapsed() >= REQUEST => return Err("no answer".into()),
            None => {}
        }
        if shared.stop.is_cancelled() {
            return Err("ending".into());
        }
    }
}

/// Wait until everything that stands in these partitions now is committed or aborted.
fn await_ended(shared: &Shared, committed: &BaseConsumer, topic: &str, partitions: &[i32]) -> Result<(), Failure> {
    let mut config = shared.reader();
    config.set("isolation.level", "read_uncommitted");
    let appended: BaseConsumer = config.create()?;
    let mut ends = BTreeMap::new();
    for partition in partitions {
        ends.insert(*partition, appended.fetch_watermarks(topic, *partition, REQUEST)?.1);
    }
    let begun = Instant::now();
    for (partition, end) in ends {
        // of a reader of what is committed, the watermark is the end of that
        while committed.fetch_watermarks(topic, partition, REQUEST)?.1 < end {
            if shared.stop.is_cancelled() {
                return Err("ending".into());
            }
            if begun.elapsed() >= ENDED {
                return Err(format!(
                    "a transaction in {topic}, partition {partition}, has been open for {} s, which Kafka should have ended; \
                     look for it with `kafka-transactions.sh find-hanging`",
                    ENDED.as_secs()
                )
                .into());
            }
            thread::sleep(LOOK);
        }
    }
    Ok(())
}

type Inner = ThreadedProducer<DefaultProducerContext>;
type Offsets = (TopicPartitionList, ConsumerGroupMetadata);

/// A producer of transactions. Its offsets are sent by a thread of their own: the client never returns from that where the broker
/// hung just as it was asked for the group's coordinator, and stayed connected (librdkafka 2.12, `rd_kafka_coord_req_fsm` waits
/// for a change that does not come). Whoever is stuck so is left behind, with this producer.
struct Transactions {
    producer: Arc<Inner>,
    offsets: SyncSender<Offsets>,
    sent: Receiver<KafkaResult<()>>,
}

impl Transactions {
    fn new(producer: Inner) -> Result<Self, Failure> {
        let producer = Arc::new(producer);
        let (offsets, wanted) = sync_channel::<Offsets>(1);
        let (done, sent) = sync_channel(1);
        let sender = Arc::clone(&producer);
        thread::Builder::new().name("offsets".into()).spawn(move || {
            while let Ok((offsets, group)) = wanted.recv() {
                if done.send(sender.send_offsets_to_transaction(&offsets, &group, Timeout::from(REQUEST))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { producer, offsets, sent })
    }

    fn send_offsets(&self, offsets: TopicPartitionList, group: ConsumerGroupMetadata) -> Result<(), Trouble> {
        let asked = self.offsets.try_send((offsets, group)).is_ok();
        match self.sent.recv_timeout(REQUEST + STUCK) {
            Ok(sent) if asked => Ok(sent?),
            _ => Err(Trouble { replace: true, ..Trouble::from("Kafka's client is stuck; going on with another") }),
        }
    }
}

/// Write batch after batch, until nobody wishes any more.
pub(super) fn write(shared: &Shared, wished: &Receiver<Wish>) {
    let mut producer: Option<Transactions> = None;
    let mut sweep_again: Option<Instant> = None;
    loop {
        let wished = wished.recv_timeout(POLL);
        if sweep_again.is_some_and(|at| Instant::now() >= at)
            && let Some(open) = &producer
        {
            sweep_again = None;
            if let Err(e) = sweep(shared, open) {
                debug!("outcomes: {e}");
                (producer, sweep_again) = (None, Some(Instant::now() + STRAGGLERS));
            }
        }
        let wish = match wished {
            Ok(wish) => wish,
            Err(RecvTimeoutError::Timeout) => {
                // ready before it is wanted
                if producer.is_none() && shared.loaded.load(Ordering::Acquire) {
                    producer = transactions(shared).map_err(|e| debug!("outcomes: {e}")).ok();
                    sweep_again = sweep_again.map(|_| Instant::now() + STRAGGLERS);
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let written = match &producer {
            Some(open) => transact(shared, open, &wish),
            None => transactions(shared).map_err(|error| Trouble { error, replace: true, unknown: false }).and_then(|open| {
                sweep_again = sweep_again.map(|_| Instant::now() + STRAGGLERS);
                let open = producer.insert(open);
                transact(shared, open, &wish)
            }),
        };
        let written = written.or_else(|trouble| {
            let Trouble { error, replace, unknown } = trouble;
            if replace {
                (producer, sweep_again) = (None, Some(Instant::now() + STRAGGLERS));
            }
            if unknown {
                warn!(
                    answers = wish.batch.answers.len(),
                    "it is not known whether outcomes were written: {error}; looking for them"
                );
                return if look_up(shared, &mut producer, &wish.batch) { Ok(()) } else { Err("they are not there".into()) };
            }
            Err(error)
        });
        match written {
            Ok(()) => shared.tell(Input::Settled(wish.batch, true)),
            Err(error) => {
                warn!(
                    answers = wish.batch.answers.len(),
                    "outcomes were not written: {error}; those that are still ours are written again"
                );
                shared.sleep(POLL);
                shared.tell(Input::Settled(wish.batch, false));
            }
        }
    }
}

fn configuration(clients: &ClientConfig, transactional_id: &str) -> ClientConfig {
    let mut config = clients.clone();
    config
        .set("transactional.id", transactional_id)
        .set("transaction.timeout.ms", TRANSACTION.as_millis().to_string())
        .set("socket.timeout.ms", TRANSACTION.as_millis().to_string()) // no longer than that, the client wants
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0")
        .set("message.timeout.ms", (TRANSACTION * 4 / 5).as_millis().to_string());
    config
}

fn transactions(shared: &Shared) -> Result<Transactions, Failure> {
    let producer: Inner = configuration(&shared.config, &shared.transactional_id).create()?;
    producer.init_transactions(REQUEST)?;
    let topic = shared.topic("outcomes");
    let metadata = producer.client().fetch_metadata(Some(&topic), REQUEST)?;
    let partitions = metadata.topics().first().map_or(0, |t| t.partitions().len());
    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
    shared.outcomes.store(partitions, Ordering::Release);
    let open = Transactions::new(producer)?;
    sweep(shared, &open)?;
    Ok(open)
}

/// End what stands open under our id in the partitions themselves, though Kafka's coordinator knows of no transaction: a broker
/// that was fenced amid one leaves that behind (seen with 4.3). Whoever reads what is committed would wait for ever, and our next
/// commit would commit those records too. A transaction that touches every partition and is aborted ends them as aborted.
fn sweep(shared: &Shared, open: &Transactions) -> Result<(), Failure> {
    let topic = shared.topic("outcomes");
    open.producer.begin_transaction()?;
    for partition in 0..shared.outcomes.load(Ordering::Acquire) {
        let record = BaseRecord::<str, str>::to(&topic).partition(partition).payload("never committed");
        open.producer.send(record).map_err(|(e, _)| e)?;
    }
    open.producer.flush(REQUEST)?;
    // that offsets of no member are refused does not matter: the group's partition takes part by then
    let stranger: BaseConsumer = shared.config.clone().set("group.id", &shared.prefix).create()?;
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&shared.topic("commands"), 0, Offset::Offset(0))?;
    if let Some(group) = stranger.group_metadata()
        && let Err(trouble) = open.send_offsets(offsets, group)
        && trouble.replace
    {
        return Err(trouble.error);
    }
    Ok(open.producer.abort_transaction(REQUEST)?)
}

/// A batch was not written, or perhaps not.
struct Trouble {
    error: Failure,
    /// Only another producer helps.
    replace: bool,
    /// It may have been committed all the same.
    unknown: bool,
}

impl From<KafkaError> for Trouble {
    fn from(error: KafkaError) -> Self {
        // what the group refuses leaves nothing behind; anything else is ended for good by the sweep of the next producer
        let refused = [
            RDKafkaErrorCode::IllegalGeneration,
            RDKafkaErrorCode::UnknownMemberId,
            RDKafkaErrorCode::RebalanceInProgress,
            RDKafkaErrorCode::FencedInstanceId,
        ];
        let replace = !matches!(&error, KafkaError::Transaction(e) if e.txn_requires_abort() && refused.contains(&e.code()));
        Self { error: error.into(), replace, unknown: false }
    }
}

impl From<&str> for Trouble {
    fn from(error: &str) -> Self {
        Self { error: error.into(), replace: false, unknown: false }
    }
}

fn transact(shared: &Shared, open: &Transactions, wish: &Wish) -> Result<(), Trouble> {
    open.producer.begin_transaction()?;
    let written = fill(shared, open, wish).and_then(|()| commit(&open.producer));
    written.map_err(|mut trouble| {
        if !trouble.replace && open.producer.abort_transaction(REQUEST).is_err() {
            // whoever comes next under this id has Kafka abort it
            trouble.replace = true;
        }
        trouble
    })
}

fn fill(shared: &Shared, open: &Transactions, Wish { batch, gateway, revoked }: &Wish) -> Result<(), Trouble> {
    let outcomes = shared.topic("outcomes");
    // as many as of commands, by the contract; with fewer nothing is to get stuck
    let partitions = shared.outcomes.load(Ordering::Acquire).max(1);
    for answer in &batch.answers {
        let written = record::write(answer, gateway);
        let device = answer.device.as_ref().map(DeviceId::as_str);
        let mut out = BaseRecord::<str, [u8]>::to(&outcomes)
            .partition(answer.partition % partitions)
            .payload(&written.value)
            .headers(headers(written.kind, &written.id, device, answer.at));
        out.key = device;
        open.producer.send(out).map_err(|(e, _)| e)?;
    }
    let group = shared.group.lock().clone();
    let metadata = group.and_then(|g| g.group_metadata()).ok_or("not a member of the group at present")?;
    // looked at after the metadata: nothing had been taken from us by the time that it is of
    if shared.revoked.load(Ordering::Acquire) != *revoked {
        return Err("partitions were given up meanwhile".into());
    }
    let commands = shared.topic("commands");
    let mut offsets = TopicPartitionList::new();
    for (partition, offset) in &batch.offsets {
        offsets.add_partition_offset(&commands, *partition, Offset::Offset(*offset))?;
    }
    open.send_offsets(offsets, metadata)
}

/// What can be tried again is, for a while.
fn commit(producer: &Inner) -> Result<(), Trouble> {
    let end = Instant::now() + TRANSACTION;
    loop {
        match producer.commit_transaction(REQUEST) {
            Err(KafkaError::Transaction(e)) if e.is_retriable() && Instant::now() < end => thread::sleep(POLL),
            Err(error) => {
                let aborted = matches!(&error, KafkaError::Transaction(e) if !e.is_fatal() && e.txn_requires_abort());
                return Err(Trouble { replace: !aborted, unknown: !aborted, ..Trouble::from(error) });
            }
            Ok(()) => return Ok(()),
        }
    }
}

/// Whether a batch was committed to which nobody has answered. Another producer of our transactional id has Kafka bring to an end
/// what was begun: then the records of the batch are all there, or none of them ever will be.
fn look_up(shared: &Shared, producer: &mut Option<Transactions>, batch: &Batch) -> bool {
    // steps and offsets do no harm if they come twice
    let named = batch.answers.iter().filter(|answer| matches!(answer.body, AnswerBody::Outcome(_)));
    let mut named = named.filter_map(|answer| Some((answer, record::finished(&record::write(answer, "").value).next()?)));
    let Some((answer, name)) = named.next() else { return false };
    while !shared.stop.is_cancelled() {
        let found = transactions(shared).and_then(|open| {
            *producer = Some(open);
            since(shared, answer.partition, Home::outcomes_since(answer.at))
        });
        match found {
            Ok(finished) => return finished.contains(&name),
            Err(e) => {
                warn!("cannot look for outcomes: {e}; retrying");
                shared.sleep(RETRY);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_takes_what_it_is_given() {
        let clients = super::super::client_config(&crate::config::Kafka::default(), "gw-1");
        let taken: KafkaResult<Inner> = configuration(&clients, "navgate-gw-1").create();
        assert_eq!(taken.err(), None);
    }
}
