//! The guest SDK: tools that are plain functions, called in the sandbox. What they answer here they answer to
//! `portcullis_sdk::testing` on the host: `tests/guests/sdk` and `example-tools/csv-report` have the twins.

use portcullis::audit::event::{Decision, Event};
use portcullis::gateway::{Blame, CallAnswer, CallError};
use portcullis::package::ToolDescription;
use portcullis::sandbox::{Content, InvokeError};
use serde_json::{Value, json};

use crate::harness::{World, guest, limited, open};

async fn sdk() -> World {
    World::with("sdk", guest("sdk")).await
}

async fn tools(world: &World, package: &str) -> Vec<ToolDescription> {
    let mut details = world.host.package(&package.parse().expect("a name")).await.expect("it is there");
    assert_eq!(details.len(), 1);
    details.remove(0).description.tools
}

fn tool<'a>(tools: &'a [ToolDescription], name: &str) -> &'a ToolDescription {
    tools.iter().find(|tool| tool.name.as_str() == name).unwrap_or_else(|| panic!("no {name}"))
}

/// What `list-tools` saw when it ran.
fn seen(tools: &[ToolDescription]) -> String {
    let schema = &tool(tools, "what_listing_saw").input_schema;
    schema["properties"]["text"]["description"].as_str().expect("a text").to_owned()
}

async fn content(world: &World, tool: &str, arguments: Value) -> Vec<Content> {
    match world.call("sdk", tool, arguments).await {
        Ok(answer) => answer.answer.content,
        Err(error) => panic!("{tool}: {error}"),
    }
}

#[track_caller]
fn failed(result: Result<CallAnswer, CallError>) -> (Blame, InvokeError, String) {
    let error = result.expect_err("it fails");
    let blame = error.blame();
    match error {
        CallError::Failed { error, report } => (blame, error, report.stderr),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_listed_as_they_are_written() {
    let world = sdk().await;
    let tools = tools(&world, "sdk").await;
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    let expected = [
        "add",
        "arguments",
        "bytes",
        "choose",
        "every-content",
        "fail",
        "nothing",
        "one_of_each",
        "panic",
        "pictures",
        "retry",
        "say",
        "what_listing_saw",
    ];
    assert_eq!(names, expected);
    let add = tool(&tools, "add");
    assert_eq!(add.description, "Adds two numbers.");
    let input = json!({
        "type": "object",
        "properties": {
            "a": { "type": "integer", "format": "int64", "minimum": i64::MIN, "maximum": i64::MAX, "description": "The first." },
            "b": { "type": "integer", "format": "int64", "minimum": i64::MIN, "maximum": i64::MAX, "description": "The second." },
        },
        "required": ["a", "b"],
        "additionalProperties": false,
    });
    assert_eq!(add.input_schema, input);
    let output = add.output_schema.as_ref().expect("it is structured");
    assert_eq!((&output["type"], &output["required"]), (&json!("object"), &json!(["sum"])));
    let arguments = tool(&tools, "arguments");
    assert_eq!(arguments.input_schema["required"], json!(["text", "numbers"]));
    assert_eq!(arguments.input_schema["properties"]["limited"]["default"], 5);
    assert!(arguments.output_schema.is_none());
}

/// The schema of one argument is made by code that tries what it can, and is never the same twice.
#[tokio::test(flavor = "multi_thread")]
async fn list_tools_runs_once_without_powers_and_is_pinned() {
    let world = sdk().await;
    let first = seen(&tools(&world, "sdk").await);
    assert!(first.starts_with("no folder, no file, no setting, 0 variables, random "), "{first}");
    let listing = world.all_records().into_iter().filter(|record| match &record.event {
        Event::CallAdmitted { context, .. } => context.tool.as_str() == "list-tools",
        _ => false,
    });
    let calls: Vec<_> = listing.filter_map(|record| record.event.call()).collect();
    assert_eq!(calls.len(), 1, "once");
    let mut denied = Vec::new();
    for record in world.records(calls[0]) {
        match record.event {
            Event::HostCall { host_call, .. } => match host_call.decision {
                Decision::Allowed(ref rule) => assert_eq!(rule, "harmless", "{host_call:?}"),
                Decision::Denied(_) => denied.push(format!("{} {}", host_call.interface, host_call.function)),
            },
            Event::CallAdmitted { grants, .. } => assert!(grants.is_empty(), "{grants:?}"),
            Event::CallFinished { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(denied, ["wasi:config/store get"]);

    // Neither a grant nor a call, nor another host over the same folder asks again.
    let folder =
        "[[grant.filesystem]]\nhost_path = \"papers\"\nguest_path = \"/papers\"\naccess = \"read\"\n";
    std::fs::write(world.folder("papers").join("a.txt"), "hello").expect("a file");
    world.grant(&format!("[[grant]]\npackage = \"sdk\"\nagents = [\"researcher\"]\n{folder}")).await;
    let said = content(&world, "what_listing_saw", json!({"text": "hello"})).await;
    assert_eq!(said, [Content::Text { text: "hello".to_owned() }]);
    assert_eq!(seen(&tools(&world, "sdk").await), first);
    let World { host, temporary } = world;
    host.close().await.expect("it closes");
    let again = open(&temporary.path().join("data")).await.expect("it opens again");
    let world = World { host: again, temporary };
    assert_eq!(seen(&tools(&world, "sdk").await), first);

    // Registered elsewhere, it is another answer: it was not in the component.
    assert_ne!(seen(&tools(&sdk().await, "sdk").await), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_content_arrives() {
    let world = sdk().await;
    let text = |text: &str| Content::Text { text: text.to_owned() };
    let image = |data: &str, mime_type: &str| Content::Image {
        data: data.to_owned(),
        mime_type: mime_type.to_owned(),
    };
    let audio = Content::Audio { data: "UklGRg==".to_owned(), mime_type: "audio/wav".to_owned() };
    let document = |mime_type: Option<&str>| Content::Resource {
        uri: "test:///text".to_owned(),
        mime_type: mime_type.map(str::to_owned),
        text: Some("a document".to_owned()),
        blob: None,
    };
    let bytes = Content::Resource {
        uri: "test:///bytes".to_owned(),
        mime_type: None,
        text: None,
        blob: Some("AP8=".to_owned()),
    };
    let decided = world.call("sdk", "every-content", json!({})).await.expect("an answer").answer;
    let png = image("iVBORw0KGgo=", "image/png");
    let expected = [
        text("a text"),
        png,
        audio.clone(),
        document(Some("text/plain")),
        bytes.clone(),
        text("{\"kinds\":5}"),
    ];
    assert_eq!(decided.content, expected);
    assert_eq!(decided.structured, Some(json!({"kinds": 5})));

    let typed = world.call("sdk", "one_of_each", json!({})).await.expect("an answer").answer;
    let svg = image("PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4=", "image/svg+xml");
    assert_eq!(typed.content, [text("a text"), svg, audio, document(None), text("{\"sum\":3}")]);
    assert_eq!(typed.structured, Some(json!({"sum": 3})));

    assert_eq!(content(&world, "bytes", json!({})).await, [bytes]);
    assert_eq!(content(&world, "nothing", json!({})).await, []);
    let colours = json!({"colours": ["dark-blue", "red"]});
    assert_eq!(content(&world, "choose", colours).await, [text("dark blue"), text("red")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_arrive_and_defaults_stand_in() {
    let world = sdk().await;
    assert_eq!(world.value("sdk", "add", json!({"a": 1, "b": 2.0})).await, json!({"sum": 3}));
    let all = json!({
        "text": "ä\"", "numbers": [0, 255], "small": -1, "flag": true, "limited": 10, "type": "dark-blue",
        "corners": [{"x": 0.5, "y": 2}], "counts": {"a b": 7}, "move": "é",
    });
    assert_eq!(world.value("sdk", "arguments", all.clone()).await, {
        let mut expected = all;
        expected["corners"][0]["y"] = json!(2.0);
        expected
    });
    let least = world.value("sdk", "arguments", json!({"text": "", "numbers": [], "small": null})).await;
    let expected = json!({
        "text": "", "numbers": [], "small": null, "flag": false, "limited": 5, "type": null, "corners": null,
        "counts": null, "move": null,
    });
    assert_eq!(least, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_do_not_fit_are_the_agents_fault() {
    let world = sdk().await;
    for (tool, arguments, path) in [
        ("add", json!({"a": 1, "b": "two"}), "$.b"),
        ("add", json!({"a": 1}), "$.b"),
        ("add", json!({"a": 1, "b": 2, "c": 3}), "$.c"),
        ("add", json!({"a": 1.5, "b": 2}), "$.a"),
        ("add", json!({"a": 1e300, "b": 2}), "$.a"),
        ("arguments", json!({"text": "", "numbers": [1, 256]}), "$.numbers[1]"),
        ("arguments", json!({"text": "", "numbers": [], "limited": 11}), "$.limited"),
        ("arguments", json!({"text": "", "numbers": [], "type": "green"}), "$.type"),
        ("arguments", json!({"text": "", "numbers": [], "corners": [{"x": 1, "y": 2, "z": 3}]}), "$.corners"),
        ("arguments", json!({"text": "", "numbers": [], "counts": {"a": -1}}), "$.counts"),
        ("arguments", json!({"text": "", "numbers": [], "move": "ab"}), "$.move"),
        ("nothing", json!({"a": 1}), "$.a"),
        // Only the tool can know.
        ("add", json!({"a": i64::MAX, "b": 1}), "the sum is too large"),
        ("retry", json!({}), "try something else"),
    ] {
        let (blame, error, _) = failed(world.call("sdk", tool, arguments.clone()).await);
        assert_eq!(blame, Blame::Agent, "{tool} {arguments}");
        match error {
            InvokeError::Arguments(told) => assert!(told.contains(path), "{tool} {arguments}: {told}"),
            other => panic!("{tool} {arguments}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_panics_are_the_tools_fault() {
    let world = sdk().await;
    let fine = content(&world, "fail", json!({"number": "255"})).await;
    assert_eq!(fine, [Content::Text { text: "255".to_owned() }]);
    for (tool, arguments, told) in [
        ("fail", json!({"number": "256"}), "number too large to fit in target type"),
        ("pictures", json!({}), "2 structured values"),
    ] {
        let (blame, error, _) = failed(world.call("sdk", tool, arguments).await);
        assert_eq!(blame, Blame::Tool);
        assert!(matches!(&error, InvokeError::Tool { message, .. } if message.contains(told)), "{error:?}");
    }
    let (blame, error, stderr) = failed(world.call("sdk", "panic", json!({"message": "a bad day"})).await);
    assert_eq!(blame, Blame::Tool);
    assert!(matches!(error, InvokeError::Crashed(_)), "{error:?}");
    assert!(stderr.contains("a bad day"), "{stderr}");
    let said = world.call("sdk", "say", json!({"text": "hello"})).await.expect("an answer").report;
    assert_eq!((said.stdout.trim_end(), said.stderr.trim_end()), ("out: hello", "err: hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_tool_sums_up_and_draws() {
    let world = World::new().await;
    world.add("csv-report", guest("csv-report")).await;
    let arguments = |more: Value| {
        let mut arguments = json!({"csv": "fruit,kilos\napple,3\npear,5\n"});
        arguments.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        arguments
    };
    let denied = world.call("csv-report", "summarise", arguments(json!({}))).await;
    assert!(matches!(denied, Err(CallError::Denied { .. })), "{denied:?}");
    world.grant(&limited("csv-report", "wall_time = \"5s\", memory = \"64MiB\"")).await;

    let answer = world.call("csv-report", "summarise", arguments(json!({}))).await.expect("a summary").answer;
    let summary = answer.structured.expect("it is structured");
    assert_eq!(
        summary["columns"][1]["numbers"],
        json!({"least": 3.0, "greatest": 5.0, "sum": 8.0, "mean": 4.0})
    );
    assert!(
        matches!(&answer.content[1], Content::Resource { uri, text: Some(text), .. }
            if uri == "csv-report:///summary.md" && text.contains("| kilos | 0 | 2 | 3 | 5 | 4.000 |")),
        "{:?}",
        answer.content
    );
    for (format, mime, start) in [("png", "image/png", "iVBORw0KGgo"), ("svg", "image/svg+xml", "PHN2Zy")] {
        let chart = arguments(json!({"labels": "fruit", "values": "kilos", "format": format}));
        let answer = world.call("csv-report", "chart", chart).await.expect("a chart").answer;
        assert_eq!(answer.content[0], Content::Text { text: "apple: 3\npear: 5\n".to_owned() });
        assert!(
            matches!(&answer.content[1], Content::Image { mime_type, data } if mime_type == mime && data.starts_with(start)),
            "{format}"
        );
    }
    let (blame, error, _) = failed(
        world.call("csv-report", "chart", arguments(json!({"labels": "fruit", "values": "weight"}))).await,
    );
    assert_eq!(blame, Blame::Agent);
    assert!(error.to_string().contains("there is no column \"weight\""), "{error}");
    let (blame, error, _) = failed(
        world
            .call(
                "csv-report",
                "chart",
                arguments(json!({"labels": "fruit", "values": "kilos", "format": "gif"})),
            )
            .await,
    );
    assert!(blame == Blame::Agent && error.to_string().contains("$.format"), "{error}");
}
