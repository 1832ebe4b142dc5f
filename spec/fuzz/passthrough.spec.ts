import { requires } from '../support/requires.js';
import { fuzzLocal } from './local.js';

requires('root')('passthrough', () => fuzzLocal('passthrough'));
