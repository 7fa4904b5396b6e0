//! A server whose owner decides, over real sockets on loopback: in Rust, and behind HTTP.

use rtmfp::amf::Value;
use rtmfp::peer::{CallError, ConnectError, Connection, PeerConfig};
use rtmfp::proto::crypto::DhGroup;
use rtmfp::server::{Caller, ConnectFacts, Decision, HookKind, Hooks, Server, ServerConfig};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// Nothing here takes this long unless it hangs.
const GRACE: Duration = Duration::from_secs(600);

async fn connect(server: &Server, app: &str, args: Vec<Value>) -> Result<Connection, ConnectError> {
    let mut config = PeerConfig::default();
    config.identity.groups = vec![DhGroup::Modp2];
    config.node.server_timeout = GRACE;
    config.node.connect_arguments = args;
    Connection::connect_with(config, &format!("{}{app}", server.client_uris()[0])).await
}

fn config() -> ServerConfig {
    let mut config = ServerConfig::default().with_listen(vec!["127.0.0.1:0".parse().unwrap()]);
    config.rendezvous.streams = Some(Default::default());
    config
}

/// Hooks that write down what they are asked.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn write(&self, client: &Caller, what: &str) {
        self.0.lock().unwrap().push(format!("{} {what}", client.app));
    }
}

impl Hooks for Diary {
    async fn on_connect(&self, client: &Caller, facts: &ConnectFacts) -> Decision {
        // The answer comes from another task, and later.
        let name = facts.args.first().and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = tokio::spawn(async move { name }).await.unwrap();
        self.write(client, &format!("connect {name}"));
        match &*name {
            "Mallory" => Decision::deny("not you"),
            _ => Decision::Allow,
        }
    }

    async fn on_publish(&self, client: &Caller, name: &str) -> Decision {
        self.write(client, &format!("publish {name}"));
        if name == "lobby" { Decision::Allow } else { Decision::deny("only lobby is open") }
    }

    async fn on_call(&self, client: &Caller, method: &str, args: &[Value]) -> Decision {
        self.write(client, &format!("call {method}"));
        match method {
            "greet" => {
                let text = format!("hello, {}", args[0].as_str().unwrap());
                Decision::Answer(text.as_str().into())
            }
            "break" => panic!("a hook that is broken"),
            _ => Decision::Unknown,
        }
    }

    async fn on_unpublish(&self, client: &Caller, name: &str) {
        self.write(client, &format!("unpublish {name}"));
    }

    async fn on_disconnect(&self, client: &Caller) {
        self.write(client, "disconnect");
    }
}

fn description(outcome: Result<Value, CallError>) -> String {
    let Err(CallError::Failed(info)) = outcome else { panic!("{outcome:?}") };
    info.property("description").and_then(Value::as_str).unwrap().to_owned()
}

#[tokio::test]
async fn an_owner_in_rust_decides() {
    let diary = Diary::default();
    let mut config = config().with_hooks(diary.clone());
    config.rendezvous.hooks.as_mut().unwrap().timeout = Duration::from_secs(2);
    let server = Server::start(config).await.unwrap();
    let refused = connect(&server, "chat", vec!["Mallory".into()]).await.unwrap_err();
    assert!(refused.to_string().contains("not you"), "{refused}");
    let ann = connect(&server, "chat/room?x=1", vec!["Ann".into()]).await.unwrap();
    assert_eq!(ann.call("greet", vec!["Ann".into()]).await.unwrap(), "hello, Ann".into());
    assert_eq!(description(ann.call("other", vec![]).await), "method not found");
    let broken = description(ann.call("break", vec![]).await);
    assert_eq!(broken, "the server has no answer", "by the deadline");
    let published = ann.publish("lobby").await.unwrap();
    let denied = ann.publish("cellar").await.unwrap_err();
    assert!(denied.to_string().contains("only lobby is open"), "{denied}");
    drop(published);
    ann.close(GRACE).await.unwrap();
    // What clients do is reported before the server has stopped.
    server.stop(GRACE).await.unwrap();
    let diary = diary.0.lock().unwrap().clone();
    let expected = [
        "chat connect Mallory",
        "chat/room connect Ann",
        "chat/room call greet",
        "chat/room call other",
        "chat/room call break",
        "chat/room publish lobby",
        "chat/room publish cellar",
        "chat/room unpublish lobby",
        "chat/room disconnect",
    ];
    assert_eq!(diary, expected);
}

/// Each worker asks for its own clients.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn clients_of_all_workers_are_decided_about() {
    let diary = Diary::default();
    let server = Server::start(config().with_workers(2).with_hooks(diary.clone())).await.unwrap();
    let mut clients = Vec::new();
    for number in 0..8 {
        let client = connect(&server, "chat", vec![format!("{number}").as_str().into()]).await;
        clients.push(client.unwrap());
    }
    for client in &clients {
        let answer = client.call("greet", vec!["you".into()]).await.unwrap();
        assert_eq!(answer, "hello, you".into());
    }
    server.stop(GRACE).await.unwrap();
    let diary = diary.0.lock().unwrap().clone();
    let count = |what: &str| diary.iter().filter(|line| line.contains(what)).count();
    assert_eq!((count("connect "), count("greet"), count("disconnect")), (8, 8, 8), "{diary:?}");
}

/// What the owner allows to many is one client's, and the owner learns of the others that they do not
/// publish.
#[cfg(target_os = "linux")]
/// Hooks that answer some calls, and others never.
struct Silent;

impl Hooks for Silent {
    async fn on_call(&self, _: &Caller, method: &str, _: &[Value]) -> Decision {
        match method {
            "wait" => std::future::pending().await,
            _ => Decision::Answer(true.into()),
        }
    }
}

#[tokio::test]
async fn hostile_questions_without_an_answer_do_not_take_all_places() {
    let mut config = config().with_hooks(Silent);
    let hooks = config.rendezvous.hooks.as_mut().unwrap();
    (hooks.events, hooks.timeout) = ([HookKind::Call].into(), Duration::from_millis(200));
    let server = Server::start(config).await.unwrap();
    let ann = Arc::new(connect(&server, "chat", vec![]).await.unwrap());
    // More than are asked at a time.
    for _ in 0..17 {
        let mut calls = JoinSet::new();
        for _ in 0..16 {
            let ann = Arc::clone(&ann);
            calls.spawn(async move { ann.call("wait", vec![]).await });
        }
        for outcome in calls.join_all().await {
            assert_eq!(description(outcome), "the server has no answer");
        }
    }
    let mut tries = 0;
    while ann.call("greet", vec![]).await.is_err() {
        tries += 1;
        assert!(tries < 20, "nothing is asked any more");
    }
    drop(ann);
    server.stop(GRACE).await.unwrap();
}

#[tokio::test]
async fn of_many_who_may_publish_at_all_workers_one_does() {
    let diary = Diary::default();
    let server = Server::start(config().with_workers(3).with_hooks(diary.clone())).await.unwrap();
    let mut clients = Vec::new();
    for number in 0..8 {
        let name = format!("{number}");
        clients.push(connect(&server, "chat", vec![name.as_str().into()]).await.unwrap());
    }
    let mut attempts = tokio::task::JoinSet::new();
    for client in &clients {
        let client = client.clone();
        attempts.spawn(async move { client.publish("lobby").await });
    }
    let (mut published, mut refused) = (Vec::new(), 0);
    while let Some(outcome) = attempts.join_next().await {
        match outcome.unwrap() {
            Ok(stream) => published.push(stream),
            Err(error) => {
                assert!(error.to_string().contains("NetStream.Publish.BadName"), "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!((published.len(), refused), (1, 7));
    assert_eq!(server.stats().await.unwrap().rendezvous.streams, 1);
    drop(published);
    for client in clients {
        client.close(GRACE).await.unwrap();
    }
    server.stop(GRACE).await.unwrap();
    let diary = diary.0.lock().unwrap().clone();
    let count = |what: &str| diary.iter().filter(|line| line.contains(what)).count();
    let counts = (count(" publish lobby"), count(" unpublish lobby"), count("disconnect"));
    assert_eq!(counts, (8, 8, 8), "{diary:?}");
}

#[cfg(feature = "settings")]
mod http {
    use super::{CallError, Connection, GRACE, Value, config, connect, description};
    use rtmfp::amf::Date;
    use rtmfp::server::{HookConfig, HttpHook, Server, ServerHooks};
    use serde_json::{Value as Json, json};
    use std::io::BufRead;
    use std::process::{Child, Command, Stdio};
    use std::sync::{Arc, Mutex};
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    async fn server(hook: &str) -> Server {
        let mut config = config();
        config.rendezvous.hooks = Some(HookConfig::default());
        config.hooks = Some(ServerHooks::new(HttpHook::new(hook).unwrap()));
        Server::start(config).await.unwrap()
    }

    /// A web server that writes down the questions, and answers by the method.
    struct Owner {
        url: String,
        questions: Arc<Mutex<Vec<Json>>>,
    }

    impl Owner {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://me:secret@{}/hook", listener.local_addr().unwrap());
            let questions = Arc::default();
            let seen = Arc::clone(&questions);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&seen)));
                }
            });
            Self { url, questions }
        }
    }

    /// Answers requests on one connection until it ends.
    async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Json>>>) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let before = head.len();
                if stream.read_line(&mut head).await? == 0 {
                    return Ok(());
                }
                let line = head[before..].to_ascii_lowercase();
                if let Some(text) = line.strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
            }
            assert!(head.starts_with("POST /hook HTTP/1.1"), "{head}");
            let head = head.to_ascii_lowercase();
            assert!(head.contains("authorization: basic bwu6c2vjcmv0"), "{head}");
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            let question: Json = serde_json::from_slice(&body).unwrap();
            let (status, answer) = match question["method"].as_str() {
                Some("echo") => ("200 OK", json!({ "result": question["args"] })),
                Some("error") => ("200 OK", json!({ "error": {"code": "Mine", "level": "error"} })),
                Some("broken") => ("500 Oh", json!({})),
                Some("unknown") => ("404 Not Found", json!({})),
                Some(_) => ("403 Forbidden", json!({ "description": "no" })),
                None if question["app"] == "elsewhere" => {
                    ("200 OK", json!({ "redirect": "rtmfp://192.0.2.8/" }))
                }
                None => ("204 No Content", Json::Null),
            };
            seen.lock().unwrap().push(question);
            let body = if answer.is_null() { String::new() } else { answer.to_string() };
            let length = match status.starts_with("204") {
                true => String::new(),
                false => format!("content-length: {}\r\n", body.len()),
            };
            let answer = format!("HTTP/1.1 {status}\r\n{length}\r\n{body}");
            stream.get_mut().write_all(answer.as_bytes()).await?;
        }
    }

    #[tokio::test]
    async fn an_owner_behind_http_decides() {
        let owner = Owner::start().await;
        let server = server(&owner.url).await;
        let ann = connect(&server, "chat?x=1", vec!["Ann".into()]).await.unwrap();
        let values = vec![
            Value::Date(Date { milliseconds: 1e12, time_zone: 0 }),
            Value::ByteArray(vec![1, 2, 255].into()),
            Value::object([("a", Value::array([Value::Null, true.into()]))]),
        ];
        let echo = ann.call("echo", values.clone()).await.unwrap();
        assert_eq!(echo, Value::array(values));
        let Err(CallError::Failed(info)) = ann.call("error", vec![]).await else { panic!() };
        assert_eq!(info.property("code"), Some(&"Mine".into()));
        assert_eq!(description(ann.call("broken", vec![]).await), "the server has no answer");
        assert_eq!(description(ann.call("unknown", vec![]).await), "method not found");
        assert_eq!(description(ann.call("denied", vec![]).await), "no");
        let refused = connect(&server, "elsewhere", vec![]).await.unwrap_err();
        assert!(refused.to_string().contains("connect to another server"), "{refused}");
        let peer_id = ann.peer_id().to_string();
        ann.close(GRACE).await.unwrap();
        server.stop(GRACE).await.unwrap();

        let questions = owner.questions.lock().unwrap().clone();
        let first = &questions[0];
        assert_eq!((&first["event"], &first["args"]), (&"connect".into(), &json!(["Ann"])));
        assert_eq!((&first["app"], &first["client"]["app"]), (&"chat?x=1".into(), &"chat".into()));
        assert_eq!((&first["client"]["id"], &first["swfUrl"]), (&peer_id.into(), &Json::Null));
        assert!(first["tcUrl"].as_str().unwrap().ends_with("/chat?x=1"), "{first}");
        assert!(first["flashVer"].is_string(), "{first}");
        assert_eq!(questions[1]["wantsAnswer"], true);
        assert_eq!(questions.last().unwrap()["event"], "disconnect");
    }

    #[tokio::test]
    async fn an_owner_that_is_not_there_lets_nobody_in() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let server = server(&format!("http://{gone}/")).await;
        let refused = connect(&server, "chat", vec![]).await.unwrap_err();
        assert!(refused.to_string().contains("could not find out"), "{refused}");
        assert_eq!(server.stats().await.unwrap().rendezvous.hook_queries_failed, 1);
        server.stop(GRACE).await.unwrap();
    }

    /// A program that ends with the test.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// The program in `docs/hooks.md`, if there is Python.
    #[tokio::test]
    async fn the_example_in_python_decides() {
        let docs = std::fs::read_to_string("docs/hooks.md").unwrap();
        let (_, rest) = docs.split_once("```python\n").unwrap();
        let program = rest.split_once("```").unwrap().0.replace("8000", "0");
        let mut python = Command::new("python3");
        python.args(["-c", &program]).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(python) = python.spawn() else { return };
        let mut python = Running(python);
        let mut line = String::new();
        let mut output = std::io::BufReader::new(python.0.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let port = line.strip_prefix("listening on port ").unwrap().trim();
        let server = server(&format!("http://127.0.0.1:{port}/")).await;
        let ann: Connection = connect(&server, "chat", vec![]).await.unwrap();
        assert_eq!(ann.call("greet", vec!["Ann".into()]).await.unwrap(), "hello, Ann".into());
        assert_eq!(description(ann.call("other", vec![]).await), "method not found");
        let published = ann.publish("lobby").await.unwrap();
        let denied = ann.publish("cellar").await.unwrap_err();
        assert!(denied.to_string().contains("only lobby is open"), "{denied}");
        drop(published);
        ann.close(GRACE).await.unwrap();
        server.stop(GRACE).await.unwrap();
    }
}
