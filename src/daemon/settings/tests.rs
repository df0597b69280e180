use super::*;
use crate::store::OpenOptions;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

async fn opened(dir: &std::path::Path) -> (Store, Settings) {
    let file = dir.join("ohmvision.toml");
    std::fs::write(&file, "[health]\ninterval_s = 20\n").unwrap();
    let (store, loaded) = Store::open(OpenOptions::new(dir.join("state"))).unwrap();
    let options = Options {
        config: Some(file),
        ..Options::default()
    };
    let outside = loaded.outside;
    let id = loaded.gateway_id;
    let password = outside.broker_password;
    let mut settings = Settings::new(id, options, loaded.settings, password).unwrap();
    settings.resume(outside.trial, outside.broker_password_before);
    (store, settings)
}

async fn change(settings: &mut Settings, store: &Store, change: Value) -> Result<(), ControlError> {
    settings.store(object(change), store).await?;
    settings.running = settings.read_again().unwrap();
    Ok(())
}

const NOBODY: Reached = Reached {
    broker: false,
    caller: None,
};

fn in_s(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_broker_that_is_not_reached_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut settings) = opened(dir.path()).await;
    let first = json!({"mqtt": {"url": "mqtt://good", "password": "old"}});
    change(&mut settings, &store, first).await.unwrap();
    let reached = Reached {
        broker: true,
        ..NOBODY
    };
    assert_eq!(settings.judge(reached, Instant::now()), Verdict::Stands);
    settings.stands(&store).await.unwrap();

    let wrong =
        json!({"mqtt": {"url": "mqtt://bad", "password": "new"}, "health": {"interval_s": 30}});
    change(&mut settings, &store, wrong).await.unwrap();
    assert_eq!(settings.judge(NOBODY, in_s(299)), Verdict::Goes);
    assert_eq!(settings.judge(NOBODY, in_s(301)), Verdict::Reverts);

    // The trial outlives the daemon, and begins anew then.
    store.close().await.unwrap();
    let (store, mut settings) = opened(dir.path()).await;
    assert_eq!(
        settings.running.config.mqtt.url.as_ref().unwrap().host,
        "bad"
    );
    assert!(settings.is_on_trial());
    assert_eq!(settings.judge(NOBODY, in_s(301)), Verdict::Reverts);
    assert!(!settings.view().reverted);
    settings.revert(&store).await.unwrap();
    assert!(settings.view().reverted);
    let now = settings.read_again().unwrap().config;
    assert_eq!(now.mqtt.url.as_ref().unwrap().host, "good");
    assert_eq!(now.health.interval, Duration::from_secs(20));
    assert_eq!(settings.password, Some(Secret::new("old")));
    store.close().await.unwrap();
    let (_, settings) = opened(dir.path()).await;
    assert!(!settings.is_on_trial());
    assert_eq!(settings.password, Some(Secret::new("old")));
}

#[tokio::test]
async fn a_caller_has_to_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut settings) = opened(dir.path()).await;
    let before = Instant::now();
    let hosts = json!({"server": {"allowed_hosts": ["roof.lan"]}});
    change(&mut settings, &store, hosts).await.unwrap();
    let caller = |at| Reached {
        caller: Some(at),
        broker: true,
    };
    assert_eq!(settings.judge(caller(before), in_s(1)), Verdict::Goes);
    assert_eq!(settings.judge(caller(in_s(1)), in_s(1)), Verdict::Stands);

    // What holds from the next start on is judged after it.
    settings.stands(&store).await.unwrap();
    let listen = json!({"server": {"listen": "127.0.0.1:8001"}});
    change(&mut settings, &store, listen).await.unwrap();
    assert!(!settings.is_on_trial());
    assert_eq!(settings.waiting(), ["server.listen"]);
    assert_eq!(settings.view().trial.unwrap().reverts_in_s, None);
}

#[tokio::test]
async fn a_wrong_change_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut settings) = opened(dir.path()).await;
    for (wrong, field) in [
        (json!({"health": {"interval_s": 1}}), "health.interval_s"),
        (json!({"helth": {"interval_s": 30}}), "helth.interval_s"),
        (json!({"health": 5}), "health"),
        (json!({"mqtt": {"password": 5}}), "mqtt.password"),
        (
            json!({"security": {"vault_key_file": "/k"}}),
            "security.vault_key_file",
        ),
    ] {
        let error = change(&mut settings, &store, wrong).await.unwrap_err();
        let ControlError::Invalid(errors) = error else {
            panic!("{error}");
        };
        assert_eq!(errors[0].0, field);
    }
    assert!(settings.stored.is_empty());

    // null takes the stored value away; the file's comes back.
    let health = |value: Value| json!({"health": {"interval_s": value}});
    change(&mut settings, &store, health(json!(45)))
        .await
        .unwrap();
    assert_eq!(settings.running.config.health.interval.as_secs(), 45);
    change(&mut settings, &store, health(Value::Null))
        .await
        .unwrap();
    assert_eq!(settings.running.config.health.interval.as_secs(), 20);
    assert!(settings.stored.is_empty());
}
