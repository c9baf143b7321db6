use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};

use super::super::owner::tests::errand;
use super::wire::{Hello, Proof, get, nonce, prove, put};
use super::*;
use crate::tls::Files;
use crate::tls::tests::Authority;

/// Longer than a machine that is busy with other things takes for anything here.
const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "a secret of ours";

fn instance(name: &str) -> InstanceId {
    InstanceId { gateway: name.into(), boot: 1 }
}

fn security(secrets: &[&str], files: Option<Files>) -> Security {
    Security::new(secrets.iter().map(|s| s.as_bytes().to_vec()).collect(), files).unwrap()
}

/// An instance that listens, where, and what it hears.
async fn start(name: &str, security: Security) -> (Peers, Arc<str>, UnboundedReceiver<Input>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().into();
    let (inputs, inbox) = unbounded_channel();
    (Peers::start(listener, instance(name), security, inputs, CancellationToken::new()), address, inbox)
}

async fn next(inbox: &mut UnboundedReceiver<Input>) -> Input {
    timeout(PATIENCE, inbox.recv()).await.expect("nothing happens").unwrap()
}

/// A home at `a` hands an errand to the holder at `b`, which answers.
async fn assert_they_talk(a: Security, b: Security) {
    let (mut a, _, mut inbox_a) = start("a", a).await;
    let (_b, address, mut inbox_b) = start("b", b).await;
    let sent = errand("c", "1", "text");
    a.send(&instance("b"), &address, Message::Hand(sent.clone().into()));
    let Input::HomeConnected(home, connection) = next(&mut inbox_b).await else { panic!() };
    assert_eq!(home, instance("a"));
    let Input::Peer(from, Message::Hand(handed)) = next(&mut inbox_b).await else { panic!() };
    let got: Errand = handed.into();
    assert_eq!((&from, &got.command), (&home, &sent.command));
    // one process has one clock
    assert!(got.deadline.abs_diff(sent.deadline) < Duration::from_millis(500), "{:?}", got.deadline);
    connection.send(Message::Handed { id: got.command.id.clone(), refused: Some(Undelivered::Full) }).unwrap();
    assert!(matches!(next(&mut inbox_a).await, Input::PeerUp(_)));
    let Input::Peer(_, Message::Handed { id, refused }) = next(&mut inbox_a).await else { panic!() };
    assert_eq!((id, refused), (sent.command.id.clone(), Some(Undelivered::Full)));
}

/// Neither comes to know the other.
async fn assert_they_refuse(a: Security, b: Security) {
    let (mut a, _, mut inbox_a) = start("a", a).await;
    let (_b, address, mut inbox_b) = start("b", b).await;
    a.send(&instance("b"), &address, Message::Ping);
    assert!(matches!(next(&mut inbox_a).await, Input::PeerDown(_)));
    assert!(inbox_b.try_recv().is_err());
}

#[tokio::test]
async fn an_errand_arrives_and_its_report_comes_back() {
    assert_they_talk(security(&["new secret", "old secret"], None), security(&["old secret", "new secret"], None)).await;
    let (folder, ca) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let with_tls = |name: &str| security(&[SECRET], Some(ca.files(&folder.path().join(name)).into()));
    assert_they_talk(with_tls("a"), with_tls("b")).await;
}

#[tokio::test]
async fn refuses_a_peer_with_another_secret_and_tells_another_life() {
    assert_they_refuse(security(&[SECRET], None), security(&["a secret of theirs"], None)).await;

    let (mut a, _, mut inbox_a) = start("a", security(&[SECRET], None)).await;
    let (_b, address, _inbox_b) = start("b", security(&[SECRET], None)).await;
    let gone = InstanceId { gateway: "b".into(), boot: 0 };
    a.send(&gone, &address, Message::Ping);
    assert!(matches!(next(&mut inbox_a).await, Input::PeerLost(instance) if instance == gone));
}

#[tokio::test]
async fn refuses_another_ca_and_a_peer_without_tls_also_with_the_right_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let of = |ca: &Authority, name: &str| security(&[SECRET], Some(ca.files(&folder.path().join(name)).into()));
    assert_they_refuse(of(&ours, "a"), of(&theirs, "b")).await;
    assert_they_refuse(of(&ours, "c"), security(&[SECRET], None)).await;
    assert_they_refuse(security(&[SECRET], None), of(&ours, "d")).await;
    // nor with TLS and another secret
    assert_they_refuse(of(&ours, "e"), Security::new(vec![b"another".to_vec()], Some(ours.files(folder.path()).into())).unwrap())
        .await;
}

/// What is at an address where an instance should be.
#[derive(Debug, Clone, Copy)]
enum Hostile {
    /// Accepts, and says nothing.
    Silent,
    /// Says a byte from time to time.
    Drips,
    /// Says what is no frame.
    Garbage,
    /// Knows the secret, and then neither reads nor says anything.
    Hangs,
}

async fn serve_hostile(listener: TcpListener, kind: Hostile, name: &'static str) {
    let mut kept = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        match kind {
            Hostile::Silent => kept.push(stream),
            Hostile::Garbage => _ = stream.write_all(&[0xff; 64]).await,
            Hostile::Drips => {
                tokio::spawn(async move {
                    while stream.write_all(&[0]).await.is_ok() {
                        sleep(Duration::from_millis(300)).await;
                    }
                });
            }
            Hostile::Hangs => {
                let ours = security(&[SECRET], None);
                let (mut read, mut write) = ours.accepted(stream).await.unwrap();
                let Ok(hello) = get::<Hello>(&mut read).await else { continue };
                let (nonce, me) = (nonce().unwrap(), instance(name));
                let said = format!("navgate peer holder\n{}\n{nonce}\n{}\n{me}", hello.nonce, hello.instance);
                let proof = Some(prove(SECRET.as_bytes(), &said));
                put(&mut write, &Hello { instance: me, nonce, proof }).await.unwrap();
                let _: Proof = get(&mut read).await.unwrap();
                tokio::spawn(async move {
                    sleep(PATIENCE).await;
                    drop((read, write));
                });
            }
        }
    }
}

/// Words to another instance, there and back, while peers misbehave.
#[tokio::test]
async fn a_peer_that_does_not_answer_read_or_speak_keeps_nobody_waiting() {
    let (mut home, _, mut inbox) = start("home", security(&[SECRET], None)).await;
    let (_good, good_at, mut heard) = start("good", security(&[SECRET], None)).await;
    let names = ["silent", "drips", "garbage", "hangs"];
    let mut bad = Vec::new();
    for (kind, name) in [Hostile::Silent, Hostile::Drips, Hostile::Garbage, Hostile::Hangs].into_iter().zip(names) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        bad.push((instance(name), Arc::<str>::from(listener.local_addr().unwrap().to_string())));
        tokio::spawn(serve_hostile(listener, kind, name));
    }
    home.send(&instance("good"), &good_at, Message::Ask { ids: Vec::new(), number: 0 });
    let mut to_home = None;
    // more than any socket takes: a MiB and a half in all to each
    let text = "x".repeat(64 * 1024);
    let large = |n: u64| {
        let value =
            format!(r#"{{"id":"{n}","device_id":"1","deadline":"2026-03-01T10:00:30Z","kind":"text","text":{{"text":"{text}"}}}}"#);
        let command = Arc::new(serde_json::from_str(&value).unwrap());
        Message::Hand(Errand { command, ..errand("c", "1", "text") }.into())
    };
    let (mut answered, mut slowest) = (0, Duration::ZERO);
    let mut down: Vec<InstanceId> = Vec::new();
    let begun = Instant::now();
    for n in 1..=24 {
        for (instance, address) in &bad {
            home.send(instance, address, large(n));
        }
        let asked = Instant::now();
        home.send(&instance("good"), &good_at, Message::Ask { ids: Vec::new(), number: n });
        while answered < n {
            tokio::select! {
                input = next(&mut heard) => match input {
                    Input::HomeConnected(_, connection) => to_home = Some(connection),
                    Input::Peer(_, Message::Ask { number, .. }) => {
                        to_home.as_ref().unwrap().send(Message::Known { known: Vec::new(), number }).unwrap();
                    }
                    other => panic!("{other:?}"),
                },
                input = next(&mut inbox) => match input {
                    Input::Peer(_, Message::Known { number, .. }) => answered = number,
                    Input::PeerDown(instance) => down.push(instance),
                    Input::PeerUp(_) => {}
                    other => panic!("{other:?}"),
                },
            }
        }
        if n > 1 {
            slowest = slowest.max(asked.elapsed());
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    while bad.iter().any(|(instance, _)| !down.contains(instance)) {
        if let Input::PeerDown(instance) = next(&mut inbox).await {
            down.push(instance);
        }
    }
    // connect, answer, and a busy machine
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

/// Strangers hold connections open, and come as fast as they can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_strangers_does_not_keep_an_instance_out() {
    let (_holder, address, mut heard) = start("holder", security(&[SECRET], None)).await;
    let flooding = CancellationToken::new();
    for _ in 0..4 {
        let (address, flooding) = (Arc::clone(&address), flooding.clone());
        tokio::spawn(async move {
            let mut open = std::collections::VecDeque::new();
            while !flooding.is_cancelled() {
                if let Ok(mut stream) = TcpStream::connect(&*address).await {
                    let _ = stream.write_all(&[0, 0]).await;
                    open.push_back(stream);
                }
                if open.len() > 500 {
                    open.pop_front();
                }
            }
        });
    }
    // the flood stands
    sleep(Duration::from_millis(500)).await;
    for n in 0..5 {
        let begun = Instant::now();
        let (mut home, _, _inbox) = start("home", security(&[SECRET], None)).await;
        home.send(&instance("holder"), &address, Message::Ask { ids: Vec::new(), number: n });
        assert!(matches!(next(&mut heard).await, Input::HomeConnected(..)));
        assert!(matches!(next(&mut heard).await, Input::Peer(_, Message::Ask { number, .. }) if number == n));
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        home.stop.cancel();
    }
    flooding.cancel();
    // and whoever proves nothing is closed in time
    let mut stranger = TcpStream::connect(&*address).await.unwrap();
    let mut byte = [0];
    let closed = timeout(ANSWER * 3, stranger.read(&mut byte)).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
}

/// A home whose network is gone says nothing more, not even that it is gone.
#[tokio::test]
async fn a_home_that_falls_silent_is_let_go() {
    let (_holder, address, mut heard) = start("holder", security(&[SECRET], None)).await;
    let ours = security(&[SECRET], None);
    let stream = TcpStream::connect(&*address).await.unwrap();
    let (mut read, mut write) = ours.connected(stream, &address).await.unwrap();
    let nonce = nonce().unwrap();
    put(&mut write, &Hello { instance: instance("home"), nonce: nonce.clone(), proof: None }).await.unwrap();
    let answer: Hello = get(&mut read).await.unwrap();
    let said = format!("navgate peer home\n{nonce}\n{}\n{}\n{}", answer.nonce, instance("home"), answer.instance);
    put(&mut write, &Proof { proof: prove(SECRET.as_bytes(), &said) }).await.unwrap();
    let Input::HomeConnected(_, connection) = next(&mut heard).await else { panic!() };
    timeout(PATIENCE, connection.closed()).await.expect("it is kept for ever");
}
