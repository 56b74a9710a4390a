package api

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// document is the OpenAPI document, checked against the specification.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.FileBodyDecoder)
	doc, err := openapi3.NewLoader().LoadFromData(Document)
	if err == nil {
		err = doc.Validate(openapi3.NewLoader().Context)
	}
	return doc, err
})

var router = sync.OnceValues(func() (routers.Router, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(doc)
})

// conforms holds an answer against the document, and a request that succeeded too.
func conforms(t testing.TB, request *http.Request, answer *http.Response, body []byte) {
	t.Helper()
	if !strings.HasPrefix(request.URL.Path, "/api/v1/") || answer.StatusCode == http.StatusNotFound && len(body) > 0 && strings.Contains(string(body), "no such route") {
		return
	}
	r, err := router()
	if err != nil {
		t.Fatal(err)
	}
	asked := request.Clone(t.Context())
	asked.Method = http.MethodGet // the document has no other
	route, parameters, err := r.FindRoute(asked)
	if err != nil {
		t.Fatalf("%s is not in the document: %v", request.URL.Path, err)
	}
	options := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, MultiError: true}
	in := &openapi3filter.RequestValidationInput{Request: asked, PathParams: parameters, Route: route, Options: options}
	if answer.StatusCode == http.StatusOK {
		if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
			t.Errorf("a request that the document does not allow was answered: %s: %v", request.URL, err)
		}
	}
	err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{RequestValidationInput: in,
		Status: answer.StatusCode, Header: answer.Header, Body: io.NopCloser(bytes.NewReader(body)), Options: options})
	if err != nil && request.Method != http.MethodHead {
		t.Errorf("the answer to %s is not as the document has it: %v", request.URL, err)
	}
}

// TestDocument compares the document with the routes, and its limits with those of the code.
func TestDocument(t *testing.T) {
	t.Parallel()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	r := setup(t, nil)
	got, want := slices.Sorted(maps.Keys(doc.Paths.Map())), slices.Sorted(maps.Keys(r.handler.routes))
	if !slices.Equal(got, want) {
		t.Errorf("paths: got %q, want %q", got, want)
	}
	served := r.get(t, "/openapi.json", "")
	if served.status != http.StatusOK || !bytes.Equal(served.body, Document) {
		t.Errorf("/openapi.json: got %d and %d bytes", served.status, len(served.body))
	}
	for _, limit := range []struct {
		path, parameter string
		most            float64
	}{
		{"/api/v1/advertisers/analytics", "limit", PointsMax}, {"/api/v1/advertisers/top", "limit", topMax},
		{"/api/v1/advertisers/analytics", "start_time", secondsMax - daySeconds},
	} {
		p := doc.Paths.Find(limit.path).Get.Parameters.GetByInAndName("query", limit.parameter)
		if most := p.Schema.Value.Max; most == nil || *most != limit.most {
			t.Errorf("%s: %s: the document has another limit than %v", limit.path, limit.parameter, limit.most)
		}
	}
}
