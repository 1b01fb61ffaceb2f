// Without `validatorUrl: null` the viewer would send the document's address to a service of its maker.
SwaggerUIBundle({
  url: "/api/v1/openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  validatorUrl: null,
});
