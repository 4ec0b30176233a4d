//! Tests of analysis, plans and estimates. Nothing here needs a service.

mod estimates;
mod labelled;
mod manifests;
mod planning;
mod progressive;
mod properties;
mod several;
mod similar;
mod together;
