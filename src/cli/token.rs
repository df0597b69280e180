//! `ohmvision token ..`

use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use super::camera::text;
use super::client::{Client, ServerArgs};
use super::table::render;
use super::{out, out_json};
use crate::exit::Exit;

#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token; it is shown once and never again.
    Create {
        /// What it is for.
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value = "read")]
        scope: ScopeArg,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List the tokens, without their secrets.
    List {
        #[command(flatten)]
        server: ServerArgs,
        /// Print the API's answer.
        #[arg(long)]
        json: bool,
    },
    /// Take a token out of force at once.
    Revoke {
        /// The token's id, as `list` shows it.
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeArg {
    Read,
    Operate,
    Admin,
}

pub async fn run(args: &TokenArgs) -> Exit {
    let done = match &args.command {
        TokenCommand::Create {
            name,
            scope,
            server,
        } => create(server, name, *scope).await,
        TokenCommand::List { server, json } => list(server, *json).await,
        TokenCommand::Revoke { id, server } => revoke(server, id).await,
    };
    done.err().unwrap_or(Exit::Ok)
}

async fn create(server: &ServerArgs, name: &str, scope: ScopeArg) -> Result<(), Exit> {
    let scope = match scope {
        ScopeArg::Read => "read",
        ScopeArg::Operate => "operate",
        ScopeArg::Admin => "admin",
    };
    let body = json!({"name": name, "scope": scope});
    let made = Client::find(server)?
        .call(Method::POST, "/api/tokens", Some(body))
        .await?
        .json();
    out(&text(&made["token"]));
    Ok(())
}

async fn list(server: &ServerArgs, as_json: bool) -> Result<(), Exit> {
    let reply = Client::find(server)?
        .call(Method::GET, "/api/tokens", None)
        .await?
        .json();
    if as_json {
        out_json(&reply);
        return Ok(());
    }
    let tokens = reply["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let row = |t: &Value| {
        ["id", "name", "scope", "created_at", "last_used_at"]
            .map(|f| text(&t[f]))
            .to_vec()
    };
    let rows: Vec<Vec<String>> = tokens.iter().map(row).collect();
    out(&render(
        &["ID", "NAME", "SCOPE", "MADE", "LAST USED"],
        &rows,
    ));
    Ok(())
}

async fn revoke(server: &ServerArgs, id: &str) -> Result<(), Exit> {
    let path = format!("/api/tokens/{}", crate::model::percent_encode(id));
    Client::find(server)?
        .call(Method::DELETE, &path, None)
        .await?;
    out(&format!("token {id} is revoked"));
    Ok(())
}
