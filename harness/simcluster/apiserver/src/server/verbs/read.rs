//! One object.

use std::sync::Arc;

use http::StatusCode;
use simcluster_machinery::status::Status;

use super::{list_options, object_reply};
use crate::{
    server::{Failure, call::Call, convert, reply::Reply},
    store::Object,
};

/// `GET` of an object.
pub(super) async fn get(call: &Call) -> Result<Reply, Failure> {
    super::check_acceptable(call)?;
    if call.query.flag("export") {
        let why = "the export parameter, deprecated since v1.14, is no longer supported";
        return Err(Box::new(Status::bad_request(why)));
    }
    list_options::not_in_the_future(call)?;
    object_reply(call, StatusCode::OK, &*served(call).await?)
}

/// The object that the path names, in the version that was asked for.
pub(super) async fn served(call: &Call) -> Result<Arc<Object>, Failure> {
    let object = find(call)?;
    convert::ready(&call.server, &call.resource, [&object]).await?;
    Ok(convert::served(&call.resource, &object))
}

/// The object that the path names, as it is kept.
pub(super) fn find(call: &Call) -> Result<Arc<Object>, Failure> {
    let key = call.resource.key(&call.route.namespace, &call.route.name);
    call.server
        .store
        .read()
        .get(&call.resource.collection, &key)
        .ok_or_else(|| call.not_found())
}
