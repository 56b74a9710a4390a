package devservices

import (
	"context"
	"fmt"
)

// Fetch brings what parts need to this machine, verified, and starts nothing. Without names it is all that are not optional.
func (s *Stack) Fetch(ctx context.Context, names ...string) error {
	parts, err := s.Select(names)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if p, ok := part.(*program); ok {
			if err := p.fetch(ctx, func(string) {}); err != nil {
				return fmt.Errorf("fetch %s: %w", p.name, err)
			}
		}
	}
	return nil
}
