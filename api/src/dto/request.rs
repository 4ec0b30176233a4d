//! The request's fields as query parameters, for the OpenAPI description of endpoints that read a request from the query string.

use domain::VideoRequest;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::{RefOr, Required};
use utoipa::{IntoParams, PartialSchema};

/// One parameter for each field of [`VideoRequest`], derived from its schema.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestParameters;

impl IntoParams for RequestParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let RefOr::T(Schema::Object(request)) = VideoRequest::schema() else {
            unreachable!("the schema of a struct is an object; this is a bug");
        };
        let parameter = |(name, schema): (String, RefOr<Schema>)| {
            let required = if request.required.contains(&name) { Required::True } else { Required::False };
            let (schema, description) = without_null(schema);
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(required)
                .description(description)
                .schema(Some(schema))
                .build()
        };
        request.properties.clone().into_iter().map(parameter).collect()
    }
}

/// Splits a field's schema into the schema without `null` and its description. A query string expresses `null` by omitting the
/// parameter, and the description belongs to the parameter.
fn without_null(schema: RefOr<Schema>) -> (RefOr<Schema>, Option<String>) {
    match schema {
        RefOr::Ref(mut reference) => {
            let description = Some(std::mem::take(&mut reference.description)).filter(|text| !text.is_empty());
            (RefOr::Ref(reference), description)
        }
        RefOr::T(Schema::Object(mut object)) => {
            let description = object.description.take();
            if let SchemaType::Array(types) = &mut object.schema_type {
                types.retain(|one| *one != Type::Null);
                if let [only] = types.as_slice() {
                    object.schema_type = SchemaType::Type(only.clone());
                }
            }
            (RefOr::T(Schema::Object(object)), description)
        }
        RefOr::T(Schema::OneOf(mut one_of)) => {
            let is_null = |item: &RefOr<Schema>| matches!(item, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null));
            one_of.items.retain(|item| !is_null(item));
            match one_of.items.pop() {
                Some(only) if one_of.items.is_empty() => without_null(only),
                last => {
                    one_of.items.extend(last);
                    let description = one_of.description.take();
                    (RefOr::T(Schema::OneOf(one_of)), description)
                }
            }
        }
        RefOr::T(Schema::Array(mut array)) => {
            let description = array.description.take();
            (RefOr::T(Schema::Array(array)), description)
        }
        other => (other, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_a_parameter_that_only_the_prompt_requires() {
        let parameters = RequestParameters::into_params(|| None);
        let mut names: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        names.sort_unstable();
        let request = serde_json::to_value(VideoRequest::new("")).expect("JSON");
        let mut fields: Vec<&str> = request.as_object().expect("an object").keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(names, fields);
        for parameter in &parameters {
            let json = serde_json::to_value(parameter).expect("JSON");
            assert_eq!(json["required"], json["name"] == "prompt", "{json}");
            assert!(json["description"].is_string() && !json["schema"].to_string().contains("null"), "{json}");
        }
    }
}
