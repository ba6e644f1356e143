//! What only the file log promises: torn writes and damage told apart, failures that end an opening, crashes anywhere.

mod crash;
mod damage;
mod failure;
mod medium;
mod replica;
