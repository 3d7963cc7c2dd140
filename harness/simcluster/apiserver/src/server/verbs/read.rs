//! One object.

use std::sync::Arc;

use http::StatusCode;

use super::{list_options, object_reply};
use crate::{
    server::{Failure, call::Call, convert, reply::Reply},
    store::Object,
};

/// `GET` of an object.
pub(super) fn get(call: &Call) -> Result<Reply, Failure> {
    super::check_acceptable(call)?;
    list_options::not_in_the_future(call)?;
    let object = find(call)?;
    object_reply(
        call,
        StatusCode::OK,
        &convert::served(&call.resource, &object),
    )
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
