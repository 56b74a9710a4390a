package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/kafkaio"
)

// kafkaPassword is the variable with the password of kafka.user.
const kafkaPassword = "KAFKA_PASSWORD"

// addKafka defines the flags of how brokers are spoken to.
func addKafka(cmd *cobra.Command) { addGroup(cmd, "kafka") }

// useKafka makes all clients of the process speak to brokers as configured.
func useKafka(cfg config.Kafka) error {
	s := kafkaio.Security{TLS: cfg.TLS == "on", CAFile: cfg.CAFile, CertFile: cfg.CertFile, KeyFile: cfg.KeyFile, User: cfg.User}
	if cfg.SASL != "off" {
		s.Mechanism = cfg.SASL
		s.Password = os.Getenv(kafkaPassword)
	}
	if s.Mechanism != "" && cfg.PasswordFile != "" {
		var err error
		if s.Password, err = config.ReadPassword(cfg.PasswordFile); err != nil {
			return &config.ExitError{Code: config.ExitUsage, Err: fmt.Errorf("kafka.password_file: %w", err)}
		}
	}
	if err := kafkaio.Use(s); err != nil {
		return &config.ExitError{Code: config.ExitUsage, Err: err}
	}
	return nil
}
