//! The catalogue as the API asks it.

use super::FieldError;
use super::detect_body::UrlsRequest;
use super::discovery::{JsonBytes, Makers};
use crate::site::Site;
use crate::vendor::{GenerateUrls, generate_urls, manufacturers_body, templates_body};

impl Makers for Site {
    fn resolve(&self, name: &str) -> Result<String, Vec<String>> {
        let catalogue = self.catalogue();
        let found = catalogue.find(name);
        found
            .map(|maker| maker.id().to_owned())
            .map_err(|unknown| unknown.closest)
    }

    fn list(&self) -> JsonBytes {
        serde_json::to_vec(&manufacturers_body(&self.catalogue()))
    }

    fn templates(&self, id: &str) -> Option<JsonBytes> {
        let catalogue = self.catalogue();
        let maker = catalogue.by_id(id)?;
        Some(serde_json::to_vec(&templates_body(maker)))
    }

    fn urls(&self, request: &UrlsRequest) -> Result<JsonBytes, FieldError> {
        let wanted = GenerateUrls {
            ip: request.ip.clone(),
            username: request.login.as_ref().map(|l| l.username.clone()),
            password: request.login.as_ref().map(|l| l.password.clone()),
            manufacturer: request.manufacturer.clone(),
            port: request.port,
            channel: Some(request.channel),
            stream: request.stream.clone(),
        };
        let catalogue = self.catalogue();
        let urls = generate_urls(&catalogue, &wanted);
        urls.map(|urls| serde_json::to_vec(&urls))
            .map_err(|e| FieldError::new(e.field(), e.to_string()))
    }
}
