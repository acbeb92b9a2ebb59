//! `CreateMicrovmImage`: creates it and begins to build its first version.

use hearth_control::id::ImageName;
use hearth_control::image::{ClientToken, CreateImage, Tags};
use serde::Deserialize;
use serde_json::{Value, json};

use super::image_spec::SpecRequest;
use super::shape;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    name: String,
    tags: Option<Tags>,
    client_token: Option<String>,
    #[serde(flatten)]
    spec: SpecRequest,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let name: ImageName = request.name.parse().map_err(|_| Fault::unparseable())?;
    let create = CreateImage {
        name,
        spec: request.spec.into_spec()?,
        tags: request.tags.clone().unwrap_or_default(),
        client_token: request.client_token.map(ClientToken),
    };
    let made = context.control.create_image(context.scope(), create).await;
    let made = made.map_err(|error| context.refused(error))?;
    let mut body = shape::image_with_version(&made);
    body.insert("tags".to_owned(), json!(request.tags));
    Ok(Answer::Json(Value::Object(body)))
}
