package beamrunner

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
)

func init() {
	register.DoFn1x0[int64](&dropFn{})
	register.Emitter1[int64]()
}

// Sink applies a DoFn whose work is done when its bundle is finished. The DoFn has an emitter of
// int64 as the last parameter of its methods, which it never calls: prism (2.77.0) spins on a processor from when
// a bundle's last output has come until the bundle is finished, and a stage without any output
// makes it spin all along. The output that nothing is sent to ends after the DoFn's FinishBundle.
func Sink(s beam.Scope, fn any, in beam.PCollection) {
	s = s.Scope("beamrunner.Sink")
	beam.ParDo0(s, &dropFn{}, beam.Reshuffle(s, beam.ParDo(s, fn, in)))
}

// dropFn takes what is never sent.
type dropFn struct{}

func (*dropFn) ProcessElement(int64) {}
