//! Pictures that videos begin from: decoded within limits, stored in one form per tenant, named by requests.
//!
//! [`upload`] takes the bytes of a picture, wherever they were in a request; [`resolve`] turns what a request says about its
//! picture into a stored one; [`data_url`] reads the one form that is text. Nothing here fetches a URL.

mod data_url;
pub mod resolve;
pub mod upload;

/// The field of a request that names its picture.
pub(crate) const FIELD: &str = "image";
